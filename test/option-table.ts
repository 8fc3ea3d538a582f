/** What an entry does with options that cannot be: one test a value, a name, and a pair of which one has no effect. */
import { describe, expect, test } from "vitest";
import type { McpAuthError } from "../src/errors.ts";
import type { NeededRule, Rule } from "../src/options.ts";

/** A function or constructor, and what it must refuse. */
export interface Entry<Options extends object> {
  name: string;
  /** Passes options on; others that are needed are given here. */
  call: (options: Options) => unknown;
  rules: Readonly<Record<keyof Options, Rule | NeededRule>>;
  /** Values that each option must refuse: an option without one does not compile. */
  bad: { readonly [Name in keyof Required<Options>]: readonly [unknown, ...unknown[]] };
  /** Options without effect beside others, with a right value for each. */
  idle?: readonly [pair: readonly (readonly [name: string, beside: string])[], right: Partial<Options>];
}

/** In every text that is wrong: it must never be shown. */
export const secret = "hush-0123456789";

/** The error, thrown or rejected with. */
async function errorOf(work: () => unknown): Promise<McpAuthError> {
  try {
    await work();
  } catch (error) {
    return error as McpAuthError;
  }
  throw new Error("nothing was refused");
}

const shown = (value: unknown) => (typeof value === "function" ? "a function" : (JSON.stringify(value) ?? String(value)).slice(0, 60));

export function describeOptions<Options extends object>({
  name: entry,
  call,
  rules,
  bad,
  idle: [pairs, right] = [[], {}],
}: Entry<Options>) {
  const tables = { rules: rules as Readonly<Record<string, Rule | NeededRule>>, bad: bad as Readonly<Record<string, readonly unknown[]>> };
  const wrong = (options: object) => errorOf(() => call(options as Options));

  describe(entry, () => {
    test("every rule has a case", () => {
      expect(Object.keys(bad).sort()).toEqual(Object.keys(rules).sort());
    });

    test.each(Object.entries(tables.bad).flatMap(([name, values]) => values.map((value) => [name, shown(value), value] as const)))(
      "`%s`: %s",
      async (name, _shown, value) => {
        const error = await wrong({ [name]: value });
        expect(error).toMatchObject({ code: "invalid_option" });
        expect(error.message).toContain(`\`${name}\` must be ${tables.rules[name]?.[0]}`);
        expect(String(error)).not.toContain(secret);
      },
    );

    test.each(Object.keys(rules))("`%s` in capitals: the option is named", async (name) => {
      const error = await wrong({ [name.toUpperCase()]: secret });
      expect(error).toMatchObject({ code: "invalid_option" });
      expect(error.message).toContain(`\`${name.toUpperCase()}\` is not an option; \`${name}\` is one`);
      expect(String(error)).not.toContain(secret);
    });

    if (pairs.length > 0)
      test.each(pairs)("`%s` beside `%s`", async (name, beside) => {
        const values = right as Readonly<Record<string, unknown>>;
        expect(values, "right values").toMatchObject({ [name]: expect.anything(), [beside]: expect.anything() });
        const error = await wrong({ [name]: values[name], [beside]: values[beside] });
        expect(error).toMatchObject({ code: "invalid_option" });
        expect(error.message).toContain(`\`${name}\` has no effect beside \`${beside}\``);
      });
  });
}
