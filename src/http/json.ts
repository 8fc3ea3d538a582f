/** The members of a stranger's JSON object; none for anything else, text that is no JSON included. */
export function members(text: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** A string that says something; `undefined` for anything else. */
export function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** The strings of a JSON array; `undefined` for anything else. */
export function strings(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : undefined;
}

/** The object without members that say nothing: undefined, null, empty text. */
export function defined<T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => (value ?? "") !== "")) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/** A stranger's value, fit for a message. */
export function quoted(value: unknown): string {
  return String(JSON.stringify(value))
    .replace(/[^ -~]/g, "?")
    .slice(0, 200);
}
