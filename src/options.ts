/** Options are checked here, once, where the app passes them: inside, they are what their types say. */
import { McpAuthError } from "./errors.ts";

/** What an option must be, in words; and whether a value is that. */
export type Rule = readonly [allowed: string, test: (value: unknown) => boolean];

/** The rule of an option that must be there. */
export type NeededRule = readonly [...Rule, isNeeded: true];

/** One rule for each option of a type: an option that is forgotten, or whose rule says nothing of its being needed, does not compile. */
export type Rules<Options> = {
  readonly [Name in keyof Options]-?: object extends Pick<Options, Name> ? Rule : NeededRule;
};

/** Options of which some have no effect beside others, in words that complete "`app` has no effect". */
export type Idle<Options> = readonly [name: keyof Options & string, beside: keyof Options & string][];

const isText = (value: unknown) => typeof value === "string" && value !== "";
const isRecord = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);

export const text: Rule = ["a text that is not empty", isText];
export const maybeEmptyText: Rule = ["a text", (value) => typeof value === "string"];
export const flag: Rule = ["`true` or `false`", (value) => typeof value === "boolean"];
export const callback: Rule = ["a function", (value) => typeof value === "function"];
export const secret: Rule = ["a text, or a function that fetches it", (value) => typeof value === "string" || typeof value === "function"];
export const record: Rule = ["an object", isRecord];
export const texts: Rule = ["an array of texts", (value) => Array.isArray(value) && value.every(isText)];
/** A URL is parsed, and judged, where it is used: that it may be one is enough here. */
export const url: Rule = ["a URL", (value) => isText(value) || value instanceof URL];
/** As a space would become part of a scope: `["read write"]` names one that no server has. */
export const scopes: Rule = [
  "an array of scopes, each a text without spaces",
  (value) => Array.isArray(value) && value.every((scope) => typeof scope === "string" && /^[!-~]+$/.test(scope)),
];
export const textsByName: Rule = [
  "an object of texts",
  (value) => isRecord(value) && Object.values(value as object).every((item) => typeof item === "string"),
];
/** Timers hold no more than 2^31-1 ms. */
export const milliseconds: Rule = ["a number of milliseconds from 1 to 2147483647", (value) => within(value, 1, 2 ** 31 - 1)];
export const port: Rule = ["an integer from 0 to 65535", (value) => Number.isInteger(value) && within(value, 0, 65_535)];
export const ports: Rule = [
  "an array of integers from 0 to 65535, not empty",
  (value) => Array.isArray(value) && value.length > 0 && value.every(port[1]),
];

export const seconds: Rule = ["a number of seconds, 0 or more", (value) => within(value, 0, Number.MAX_SAFE_INTEGER)];
export const count: Rule = ["a whole number, 1 or more", (value) => Number.isInteger(value) && within(value, 1, 2 ** 31 - 1)];
export const bytes: Rule = [
  "a number of bytes, 1 or more",
  (value) => Number.isInteger(value) && within(value, 1, Number.MAX_SAFE_INTEGER),
];

/** An option that must be there. */
export const needed = ([allowed, test]: Rule): NeededRule => [allowed, test, true];

/** One of some texts. */
export const oneOf = (...values: readonly string[]): Rule => [
  values.map((value) => `"${value}"`).join(" or "),
  (value) => values.includes(value as string),
];

/** An object by what it can do: a class of the app's own will do. */
export const having = (what: string, ...methods: readonly string[]): Rule => [
  `${what}, with ${methods.join(", ")}`,
  (value) => isRecord(value) && methods.every((method) => typeof Reflect.get(value as object, method) === "function"),
];

/** What many functions are given: made by us, or by the app in the same form. */
export const clock = () => having("a clock", "now", "sleep");
export const http = () => having("what `createHttp` returns", "fetch", "checkUrl");
export const signal = () => having("an `AbortSignal`", "addEventListener", "throwIfAborted");
export const query = () => having("a `URLSearchParams`", "getAll");
export const credential = () => having("a credential", "headers", "onChallenge");
export const challenge: Rule = [
  "a challenge, as `readChallenge` returns it",
  (value) => isRecord(value) && Array.isArray(Reflect.get(value as object, "challenges")),
];
export const serverMetadata: Rule = [
  "metadata of an authorization server, with its `issuer`",
  (value) => isRecord(value) && isText(Reflect.get(value as object, "issuer")),
];

function within(value: unknown, least: number, most: number): boolean {
  return typeof value === "number" && value >= least && value <= most;
}

/**
 * Checks what an app has passed. `undefined` counts as absent. No message holds a value.
 *
 * @param idle pairs of options of which the first has no effect beside the second
 * @returns the options
 * @throws McpAuthError `invalid_option`
 */
export function checkOptions<Options extends object>(options: Options, rules: Rules<Options>, idle: Idle<Options> = []): Options {
  if (!isRecord(options)) throw wrong("the options must be an object");
  const all = rules as Readonly<Record<string, Rule | NeededRule>>;
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue;
    const rule = Object.hasOwn(rules, name) ? all[name] : undefined;
    if (!rule) throw wrong(unknown(name, Object.keys(rules)));
    if (!rule[1](value)) throw wrong(`\`${name}\` must be ${rule[0]}`);
  }
  for (const [name, [, , isNeeded]] of Object.entries(all)) {
    if (isNeeded && Reflect.get(options, name) === undefined) throw wrong(`\`${name}\` is missing`);
  }
  for (const [name, beside] of idle) {
    if (options[name] !== undefined && options[beside] !== undefined) throw wrong(`\`${name}\` has no effect beside \`${beside}\``);
  }
  return options;
}

/** The options that `rules` know, of an object that has others as well. */
export function pick<Options extends object>(options: object, rules: Rules<Options>): Partial<Options> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(rules, name))) as Partial<Options>;
}

function wrong(detail: string): McpAuthError {
  return new McpAuthError("invalid_option", { detail });
}

/** What an app may have meant is named, where it is near enough. */
function unknown(name: string, known: readonly string[]): string {
  const nearest = known
    .map((other) => ({ other, far: distance(name.toLowerCase(), other.toLowerCase()) }))
    .sort((a, b) => a.far - b.far)[0];
  const suggestion = nearest && nearest.far <= Math.max(2, name.length / 3) ? `; \`${nearest.other}\` is one` : "";
  return `\`${name.slice(0, 50)}\` is not an option${suggestion}`;
}

/** How many characters must be added, removed or replaced (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min((next[j - 1] ?? 0) + 1, (row[j] ?? 0) + 1, (row[j - 1] ?? 0) + Number(a[i - 1] !== b[j - 1])));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
