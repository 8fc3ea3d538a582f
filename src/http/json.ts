/** The members of a JSON object in untrusted text; none when the text is anything else. */
export function members(text: string): Readonly<Record<string, unknown>> {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/** A string that is not empty; `undefined` for anything else. */
export function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** The strings of a JSON array; `undefined` for anything else. */
export function strings(value: unknown): string[] | undefined {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : undefined;
}

/** What a refusal says in words: as OAuth has it, else as gateways and frameworks do (`message`, `detail`, in an array or in `error`). */
export function explanation(body: Readonly<Record<string, unknown>>): string | undefined {
  const { error, error_description, message, detail } = Object(Array.isArray(body) ? body[0] : body);
  return text(error_description) ?? text(message) ?? text(detail) ?? text(Object(error).message);
}

/** The object without members that are undefined, null or empty. */
export function defined<T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => (value ?? "") !== "")) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

/** Makes an untrusted value fit for a message. */
export function quoted(value: unknown): string {
  return String(JSON.stringify(value))
    .replace(/[^ -~]/g, "?")
    .slice(0, 200);
}
