/** Options of what supplies assertions: what cannot be is refused when the source is made, not at the first token. */
import { expect, test } from "vitest";
import { assertionCommand, assertionFile, gitHubActions, gitLab, kubernetes } from "../../../src/machine/index.ts";
import type {
  AssertionCommandOptions,
  GitHubActionsOptions,
  GitLabOptions,
  KubernetesOptions,
} from "../../../src/machine/workload/sources.ts";
import { describeOptions, secret } from "../../option-table.ts";

describeOptions<GitHubActionsOptions>({
  name: "gitHubActions",
  call: gitHubActions,
  needed: {},
  bad: { audience: ["", 1, ["https://as.example"]] },
});
describeOptions<GitLabOptions>({ name: "gitLab", call: gitLab, needed: {}, bad: { variable: ["", 1] } });
describeOptions<KubernetesOptions>({
  name: "kubernetes",
  call: kubernetes,
  needed: {},
  bad: { path: ["", 1, new URL("file:///x")] },
});
describeOptions<AssertionCommandOptions>({
  name: "assertionCommand",
  call: (options) => assertionCommand(["print-token"], options),
  needed: {},
  bad: {
    commandTimeout: [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, "1000"],
    env: ["PATH", [secret], { TOKEN: 1 }],
    identity: ["", 1],
  },
});

test.each<[rule: string, call: () => unknown, detail: string]>([
  ["a file has a path", () => assertionFile(undefined as never), "`path` is missing"],
  ["which is a text", () => assertionFile(new URL("file:///x") as never), "`path` must be a text"],
  ["and not empty", () => assertionFile(""), "`path` must be a text"],
  ["a command is there", () => assertionCommand(undefined as never), "`command` is missing"],
  ["as an array, for no shell splits it", () => assertionCommand("print-token --now" as never), "`command` must be an array"],
  ["that names a program", () => assertionCommand([] as never), "`command` must be an array"],
  ["by a name that is not empty", () => assertionCommand([""]), "`command` must be an array"],
  ["with arguments that are texts", () => assertionCommand(["print-token", 1 as never]), "`command` must be an array"],
])("%s", (_rule, call, detail) => {
  expect(call).toThrow(expect.objectContaining({ code: "invalid_option", message: expect.stringContaining(detail) }));
});

test("an argument may be empty, and a variable unset", () => {
  expect(() => assertionCommand(["print-token", ""], { env: { HOME: undefined } })).not.toThrow();
});
