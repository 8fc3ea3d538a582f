import { createHmac, timingSafeEqual } from "node:crypto";

const name = "session";

/** Who is signed in, in a cookie that is signed: any machine can read it. A real application uses its framework's sessions. */
export function sessions(key: Buffer) {
  const sign = (user: string) => createHmac("sha256", key).update(user).digest("base64url");
  return {
    /** `Set-Cookie` for a user; without one: signs out. */
    cookie: (user?: string) =>
      `${name}=${user === undefined ? "" : `${user}.${sign(user)}`}; Path=/; HttpOnly; SameSite=Lax${user === undefined ? "; Max-Age=0" : ""}`,
    /** The user of a `Cookie` header. */
    user(header: string | null | undefined): string | undefined {
      const [, user, signature] = new RegExp(`(?:^|; )${name}=(\\w+)\\.([\\w-]+)`).exec(header ?? "") ?? [];
      if (user === undefined || signature === undefined) return undefined;
      const [given, right] = [Buffer.from(signature), Buffer.from(sign(user))];
      return given.length === right.length && timingSafeEqual(given, right) ? user : undefined;
    },
  };
}
