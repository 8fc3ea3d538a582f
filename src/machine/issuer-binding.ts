import { bindIssuer } from "../registration/bound-issuer.ts";
import type { StoredRecord } from "../stores/store.ts";
import type { ServerSession } from "../tokens/session.ts";
import type { MachineTokenManagerOptions } from "./options.ts";

/** What was arranged with one authorization server is never shown to another one, however the protected server leads there. */
export class IssuerBinding {
  readonly #session: ServerSession;
  readonly #client: string;
  /** Where the store keeps nothing, it holds as long as the manager does. */
  #bound: string | undefined;

  constructor(session: ServerSession, { clientId, assertion, account = "default" }: MachineTokenManagerOptions) {
    this.#session = session;
    this.#client = clientId ?? assertion?.identity ?? account;
  }

  /** @throws McpAuthError `client_issuer_mismatch` when this program belongs to another authorization server */
  async bind(issuer: string): Promise<true> {
    const { serverUrl, store } = this.#session;
    const lenient = { ...store, set: (key: string, value: StoredRecord) => store.set(key, value).catch(() => {}) };
    await bindIssuer({ store: lenient, clientId: this.#client, serverUrl, configured: this.#bound, issuer });
    this.#bound = issuer;
    return true;
  }
}
