import { expect, test } from "vitest";
import { violations } from "../../scripts/imports.ts";

const rest = {
  "errors.ts": "",
  "http/http.ts": "",
  "stores/store.ts": "",
  "tokens/set.ts": "",
  "transports/fetch.ts": "",
  "credential.ts": "",
  "node/index.ts": "",
  "grants/a.ts": "",
  "index.ts": "",
  "user/options.ts": "",
};

test.each([
  // file,                 import,                                            allowed
  ["tokens/manager.ts", `import { a } from "../http/http.ts";`, true],
  ["tokens/manager.ts", `import { a } from "./set.ts";`, true],
  ["errors.ts", `import type { A } from "./events.ts";`, true],
  ["machine/a.ts", `import { a } from "../tokens/set.ts";`, true],
  ["node/listener.ts", `export * from "../index.ts";`, true],
  ["credentials/api-key.ts", `import { a } from "../transports/fetch.ts";`, true],
  ["transports/fetch.ts", `import type { A } from "../credential.ts";`, true],
  ["transports/fetch.ts", `import { a } from "../credentials/api-key.ts";`, false],
  ["credential.ts", `import type { A } from "./transports/fetch.ts";`, false],
  ["http/bounded.ts", `import { a } from "../tokens/set.ts";`, false],
  ["http/bounded.ts", `import type { A } from "../tokens/set.ts";`, false],
  ["http/bounded.ts", `export { a } from "../tokens/set.ts";`, false],
  ["http/bounded.ts", `type A = import("../tokens/set.ts").A;`, false],
  ["tokens/manager.ts", `const a = await import("../node/index.ts");`, false],
  ["tokens/manager.ts", `import { a } from "../index.ts";`, false],
  ["tokens/manager.ts", `import type { A } from "../user/options.ts";`, false],
  ["machine/a.ts", `import type { A } from "../user/options.ts";`, false],
  ["login/a.ts", `import type { A } from "../user/options.ts";`, false],
  ["user/a.ts", `import { a } from "../tokens/set.ts";`, true],
  ["helpers.ts", "", false],
  ["index.ts", `export * from "./node/index.ts";`, false],
  ["http/bounded.ts", `import type { Store } from "../stores/store.ts";`, false],
  ["authorization/request.ts", `import { a } from "../grants/a.ts";`, false],
  ["http/bounded.ts", `import { a } from "./missing.ts";`, false],
  ["utils/misc.ts", "", false],
])("%s with %s: allowed %s", (file, text, allowed) => {
  const files = new Map(Object.entries({ ...rest, "events.ts": "", "credentials/api-key.ts": "", [file]: text }));
  expect(violations(files)).toHaveLength(allowed ? 0 : 1);
});

test.each([
  // what,                    texts by file,                                                                              circles
  ["two files", { "tokens/a.ts": `import { b } from "./b.ts";`, "tokens/b.ts": `import type { A } from "./a.ts";` }, 1],
  ["three files", { "tokens/a.ts": `import "./b.ts";`, "tokens/b.ts": `import "./c.ts";`, "tokens/c.ts": `import("./a.ts");` }, 1],
  ["a file that imports itself", { "tokens/a.ts": `import "./a.ts";` }, 1],
  ["two ways to one file", { "tokens/a.ts": `import "./b.ts"; import "./c.ts";`, "tokens/b.ts": `import "./c.ts";`, "tokens/c.ts": "" }, 0],
])("circles: %s", (_what, files, count) => {
  const found = violations(new Map(Object.entries(files)));
  expect(found).toHaveLength(count);
  for (const line of found) expect(line).toMatch(/^circle: src\/tokens\/a\.ts → .*src\/tokens\/a\.ts$/);
});
