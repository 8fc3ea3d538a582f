import { ClientAuthentication } from "./client-authentication.ts";
import { IssuerBinding } from "./issuer-binding.ts";
import { RefusedAssertion } from "./refusal.ts";
import type { MachineSession } from "./session.ts";

/** A manager's session and what its token requests need. Made for the first token request, and kept. */
export interface RequestSession extends MachineSession {
  readonly binding: IssuerBinding;
  readonly authentication: ClientAuthentication;
  readonly refusedAssertion: RefusedAssertion;
}

export function requestSession(session: MachineSession): RequestSession {
  return Object.assign(session, {
    binding: new IssuerBinding(session, session.options),
    authentication: new ClientAuthentication(session.clock),
    refusedAssertion: new RefusedAssertion(),
  });
}
