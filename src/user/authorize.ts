import { abortable } from "../async.ts";
import { splitScope } from "../authorization/scopes.ts";
import { isTransient } from "../errors.ts";
import { probe } from "../login/probe.ts";
import { assertUsable } from "../tokens/session.ts";
import type { ActiveLogin } from "./active-login.ts";
import { hasMetadata } from "./own-metadata.ts";

/** Logs in if the server asks for it, and if there is no login with these scopes. @throws McpAuthError as `TokenManager.authorize` */
export async function authorize(
  login: ActiveLogin,
  scopes: readonly string[] | undefined,
  signal: AbortSignal | undefined,
): Promise<"authorized" | "not-required"> {
  const { session, token, prompt } = login;
  while (!(await hasLogin(login, scopes, signal))) {
    let { running } = prompt;
    const stored = await prompt.storedServer();
    running ??= prompt.running;
    if (!running && stored) {
      await abortable(prompt.ask({ stored, known: token.record, scopes }), signal);
      return "authorized";
    }
    if (!running) {
      const speculation = prompt.speculate();
      const challenge = await probe(session, signal);
      if (!challenge && !scopes && !(await hasMetadata(session, speculation))) {
        prompt.stopSpeculating();
        return "not-required";
      }
      running = prompt.running;
      if (!running) {
        const plan = { challenge, operation: "server/discover", known: token.record, scopes };
        await abortable(prompt.ask(plan), signal);
        return "authorized";
      }
    }
    // It was begun for others, who may want fewer scopes.
    await abortable(running, signal);
  }
  return "authorized";
}

/** Whether there is a login with these scopes, here or in the store. */
async function hasLogin({ session, token }: ActiveLogin, scopes: readonly string[] | undefined, signal: AbortSignal | undefined) {
  assertUsable(session);
  try {
    if ((await token.find(signal)) === undefined) return false;
  } catch (error) {
    // A token endpoint that fails now may still let a user in; a store or lock that fails would not.
    if (isTransient(error) && error.party === "authorization-server") return false;
    throw error;
  }
  const granted = splitScope(token.record?.scope);
  return scopes?.every((scope) => granted.includes(scope)) ?? true;
}
