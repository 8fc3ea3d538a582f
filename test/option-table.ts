/** What an entry does with options that cannot be: one test a value, a name, and a pair of which one has no effect. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { McpAuthError } from "../src/errors.ts";

type Bad = readonly [unknown, ...unknown[]];
type Needed<Options> = { [Name in keyof Options as object extends Pick<Options, Name> ? never : Name]: unknown };

/** A function or constructor, and what it must refuse. */
export interface Entry<Options extends object> {
  name: string;
  call: (options: Options) => unknown;
  /** Right values of the options that must be there. */
  needed: Needed<Options>;
  /** Right values of others, which keep a call that passes from reaching anything. */
  beside?: Partial<Options>;
  /** Values that each option must refuse: an option without one does not compile. */
  bad: { readonly [Name in keyof Options]-?: Bad };
  /** Options without effect beside others, with a right value for each. */
  idle?: readonly [pairs: readonly (readonly [name: string, beside: string])[], right: Partial<Options>];
}

/** In texts that are wrong: it must never be shown. */
export const secret = "hush-0123456789";

/** What a call ends with, thrown or rejected; `undefined` when it succeeds. */
export async function endOf(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return undefined;
}

export const refusal = (detail: string) => ({ code: "invalid_option", message: expect.stringContaining(detail) });

const shown = (value: unknown) => (typeof value === "function" ? "a function" : (JSON.stringify(value) ?? String(value)).slice(0, 60));
/** Values that hold a text and that hardly any option takes. */
const wraps = [(text: string) => ({ value: text }), (text: string) => [[text]], (text: string) => () => text];

export function describeOptions<Options extends object>(entry: Entry<Options>): void {
  const { name: entryName, call, beside, idle: [pairs, right] = [[], {}] } = entry;
  const bad = entry.bad as Readonly<Record<string, Bad>>;
  const needed = entry.needed as Readonly<Record<string, unknown>>;
  const pass = (options: object) => endOf(() => call({ ...needed, ...beside, ...options } as never));

  describe(entryName, () => {
    const values = Object.entries(bad).flatMap(([name, them]) => them.map((value) => [name, shown(value), value] as const));
    test.each(values)("`%s`: %s", async (name, _shown, value) => {
      const error = await pass({ [name]: value });
      expect(error).toMatchObject(refusal(`\`${name}\` must be `));
      expect(String(error)).not.toContain(secret);
    });

    test.each(Object.keys(bad))("`%s` in capitals is not an option, and it is named", async (name) => {
      const wrong = name.toUpperCase();
      const error = await pass({ [wrong]: secret });
      expect(error).toMatchObject(refusal(`\`${wrong}\` is not an option; \`${name}\` is one`));
      expect(String(error)).not.toContain(secret);
    });

    if (Object.keys(needed).length > 0)
      test.each(Object.keys(needed))("without `%s`", async (name) => {
        expect(await pass({ [name]: undefined })).toMatchObject(refusal(`\`${name}\` is missing`));
      });

    if (pairs.length > 0)
      test.each(pairs)("`%s` beside `%s`", async (name, other) => {
        const both = right as Readonly<Record<string, unknown>>;
        expect(both, "right values").toMatchObject({ [name]: expect.anything(), [other]: expect.anything() });
        const error = await pass({ [name]: both[name], [other]: both[other] });
        expect(error).toMatchObject(refusal(`\`${name}\` has no effect beside \`${other}\``));
      });

    test("`undefined` counts as absent", async () => {
      const absent = Object.keys(bad).filter((name) => !(name in needed) && !(name in (beside ?? {})));
      const error = await pass(Object.fromEntries(absent.map((name) => [name, undefined])));
      expect(String(error)).not.toMatch(/must be|is not an option/);
    });

    test.each([["text"], [null], [1], [[]]])("%j instead of options", async (options) => {
      expect(await endOf(() => call(options as never))).toMatchObject({
        code: "invalid_option",
        message: expect.stringMatching(/must be an object|must be a request/),
      });
    });

    test("no message holds a value, wherever it was put", async () => {
      const place = fc.constantFrom(...Object.keys(bad), "secret");
      await fc.assert(
        fc.asyncProperty(place, fc.constantFrom(...wraps), fc.uuid(), async (name, wrap, text) => {
          const error = await pass({ [name]: wrap(text) });
          const said = error instanceof McpAuthError ? `${error.stack} ${JSON.stringify(error)} ${JSON.stringify(error.cause)}` : "";
          expect(said).not.toContain(text);
        }),
        { numRuns: 40 },
      );
    });
  });
}
