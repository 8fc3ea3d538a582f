/** Logins at real servers, by what these publish: nothing leaves the machine. */
import { expect, test } from "vitest";
import { logInAt } from "./provider.ts";
import { cases } from "./servers.ts";

test.each(cases)("%s", async (_kind, provider, options, expected) => {
  expect(await logInAt(provider, options)).toMatchObject(expected);
});
