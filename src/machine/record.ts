import type { HeldLock, Store, StoredRecord } from "../stores/store.ts";
import type { IssuedToken } from "../tokens/token-record.ts";
import type { MachineTokenManagerOptions } from "./options.ts";

/** A program's token for one protected server, and the request that got it. Times in ms since 1970. */
export interface MachineRecord extends IssuedToken {
  v: 1;
  /** Identifier of the protected resource. */
  resource: string;
  accessToken: string;
  /** Granted scopes, space-separated, where the authorization server has named them. */
  scope?: string | undefined;
  /** All scopes that were requested so far. */
  requestedScopes: readonly string[];
  /** The other options of the token request, as {@link requestOf} writes them. */
  request: string;
}

/** Whose token, for which protected server. */
interface Owner {
  serverName: () => Promise<string>;
  options: MachineTokenManagerOptions;
}

/** The store's key of a program's token. Managers that request the same token share it. */
export async function machineKey({ serverName, options }: Owner): Promise<string> {
  const { account = "default", clientId, assertion, scopes = [] } = options;
  // With an assertion a client acts for somebody else: its tokens must not be mixed with its own.
  const subject = assertion && `assertion ${assertion.identity ?? ""}`;
  const parts = [account, clientId ?? "", subject ?? "", [...scopes].sort().join(" ")];
  return `machine/${parts.map(encodeURIComponent).join("/")}/${await serverName()}`;
}

/** The options that shape a token and are not in its key. A token with others is of no use. */
export function requestOf({ options }: Pick<Owner, "options">): string {
  const { issuer, tokenEndpoint, resource, resourceParameter, tokenParameters } = options;
  return JSON.stringify([issuer, tokenEndpoint, resource, resourceParameter, tokenParameters]);
}

/** Mostly differs where the credentials differ. Only one byte, so that nobody can test guessed secrets against it. */
export async function fingerprintOf(session: Owner): Promise<string> {
  const { clientSecret, privateKey } = session.options;
  const known = [requestOf(session), clientSecret, privateKey].map((part) => (typeof part === "string" ? part : ""));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(known)));
  return String(new Uint8Array(digest)[0]);
}

/**
 * The stored token of one program. A replaced token is never read again, even if the store could neither overwrite nor
 * delete it.
 */
export class MachineTokenStore {
  readonly #session: Owner & { store: Store };
  #replaced: string | undefined;
  /** The access token that was read last. */
  #found: string | undefined;

  constructor(session: Owner & { store: Store }) {
    this.#session = session;
  }

  /** The token, if it fits these options. @throws McpAuthError what reading the store throws */
  async read(): Promise<MachineRecord | undefined> {
    const { store } = this.#session;
    const found = await store.get(await machineKey(this.#session));
    const { v, accessToken, issuer, resource, requestedScopes, issuedAt, request } = (found ?? {}) as Partial<MachineRecord>;
    // A record that cannot be understood is ignored: a new token can be requested.
    const isSound = [accessToken, issuer, resource].every((text) => typeof text === "string") && Array.isArray(requestedScopes);
    this.#found = accessToken;
    const isOurs = v === 1 && isSound && typeof issuedAt === "number" && request === requestOf(this.#session);
    return isOurs && accessToken !== this.#replaced ? (found as unknown as MachineRecord) : undefined;
  }

  /** Replaces the token that was read last, even if this throws. @throws McpAuthError what the store throws */
  async write(held: HeldLock, record: MachineRecord): Promise<void> {
    await this.#replacing(async (key) => held.set(key, record as unknown as StoredRecord));
  }

  /** Deletes the token that was read last, because it was refused. */
  async delete(held: HeldLock): Promise<void> {
    await this.#replacing(async (key) => held.delete(key)).catch(() => {});
  }

  async #replacing(work: (key: string) => Promise<void>): Promise<void> {
    try {
      await work(await machineKey(this.#session));
    } catch (error) {
      this.#replaced = this.#found;
      throw error;
    }
  }
}
