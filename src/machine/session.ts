import { McpAuthError } from "../errors.ts";
import { createServerSession, type ServerSession } from "../tokens/session.ts";
import type { MachineTokenManagerOptions } from "./options.ts";
import { MachineTokenStore } from "./record.ts";

/** What the parts of a machine token manager share, such as the checked options. */
export interface MachineSession extends ServerSession {
  readonly options: MachineTokenManagerOptions;
  readonly tokens: MachineTokenStore;
}

/** @throws McpAuthError `invalid_url`, `insecure_url`; `invalid_option` for options that contradict each other or would mix identities */
export function createMachineSession(options: MachineTokenManagerOptions): MachineSession {
  const { clientId, clientSecret, privateKey, assertion, store, account, tokenEndpoint, issuer } = options;
  const wrong = (detail: string) => new McpAuthError("invalid_option", { detail });
  if (!clientId && !assertion) throw wrong("`clientId` or `assertion` is missing");
  if (!clientId && (clientSecret !== undefined || privateKey !== undefined)) throw wrong("`clientSecret` and `privateKey` need `clientId`");
  if (clientSecret === "") throw wrong("`clientSecret` is empty");
  if (assertion && store && account === undefined && assertion.identity === undefined)
    throw wrong("`account` is missing, which says whose tokens these are in a shared `store`");
  const session = createServerSession(options);
  if (tokenEndpoint !== undefined) session.http.checkUrl(tokenEndpoint);
  if (issuer !== undefined) session.http.checkUrl(issuer);
  // Assigned, not spread: a copy would miss later changes of the session's fields.
  return Object.assign(session, { options, tokens: new MachineTokenStore({ ...session, options }) });
}
