/** Writes many records at once, again and again, and says which are durable, until it is killed; played by `group.test.ts`. */
import { writeSync } from "node:fs";
import { SqliteStore } from "../../../src/node/stores/sqlite.ts";

const { FOLDER = "", KEYS = "0", FROM = "0" } = process.env;
const store = new SqliteStore({ app: "acme", folder: FOLDER, keychain: false });

for (let n = Number(FROM); ; n++) {
  await Promise.all(
    Array.from({ length: Number(KEYS) }, async (_, key) => {
      await store.set(`k${key}`, { v: 1, n, text: String(n).repeat(300) });
      writeSync(1, `${key} ${n}\n`);
    }),
  );
}
