/** Asks a server whether it wants a login, and nothing else: for the suite's check of messages. */
import { createMcpAuth } from "../../src/node/index.ts";

const auth = createMcpAuth(process.argv.at(-1) ?? "", { interactive: false });
console.log(await auth.authorize());
