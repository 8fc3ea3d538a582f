import { bindIssuer } from "../registration/bound-issuer.ts";
import type { StoredRecord } from "../stores/store.ts";
import type { ServerSession } from "../tokens/session.ts";
import type { MachineTokenManagerOptions } from "./options.ts";

/** Binds a program's credentials to one authorization server: no other one gets them, whatever the protected server says. */
export class IssuerBinding {
  readonly #session: ServerSession;
  readonly #client: string;
  /** Kept here as well, for stores that cannot keep it. */
  #bound: string | undefined;

  constructor(session: ServerSession, { clientId, assertion, account = "default" }: MachineTokenManagerOptions) {
    this.#session = session;
    this.#client = clientId ?? assertion?.identity ?? account;
  }

  /** @throws McpAuthError `client_issuer_mismatch` when this program belongs to another authorization server */
  async bind(issuer: string): Promise<true> {
    const { serverName, store, options } = this.#session;
    const { issuerAlias } = options;
    const lenient = { ...store, set: (key: string, value: StoredRecord) => store.set(key, value).catch(() => {}) };
    await bindIssuer({
      store: lenient,
      clientId: this.#client,
      serverName: await serverName(),
      configured: this.#bound,
      issuer,
      issuerAlias,
    });
    this.#bound = issuer;
    return true;
  }
}
