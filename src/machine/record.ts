import type { HeldLock, Store, StoredRecord } from "../stores/store.ts";
import type { IssuedToken } from "../tokens/token-record.ts";
import type { MachineTokenManagerOptions } from "./options.ts";

/** A program's token for one protected server, and what it was asked for. Times in ms since 1970. */
export interface MachineRecord extends IssuedToken {
  v: 1;
  /** Identifier of the protected resource. */
  resource: string;
  accessToken: string;
  /** Granted scopes, space-separated, where known. */
  scope?: string | undefined;
  /** All scopes that were asked for so far. */
  requestedScopes: readonly string[];
  /** What else of the options made the token what it is. */
  request: string;
}

/** Whose token, for which protected server. */
interface Owner {
  server: string;
  options: MachineTokenManagerOptions;
}

/** Where a program's token is kept: those who ask for the same share it. */
export function machineKey({ server, options }: Owner): string {
  const { account = "default", clientId, assertion, scopes = [] } = options;
  // A client that speaks for itself is somebody else than one that speaks for others.
  const speaksFor = assertion && `assertion ${assertion.identity ?? ""}`;
  const parts = [account, clientId ?? "", speaksFor ?? "", [...scopes].sort().join(" ")];
  return `machine/${parts.map(encodeURIComponent).join("/")}/${server}`;
}

/** What beside the key makes a token what it is: another one is of no use. */
export function requestOf({ options }: Pick<Owner, "options">): string {
  const { issuer, tokenEndpoint, resource, resourceParameter, tokenParameters } = options;
  return JSON.stringify([issuer, tokenEndpoint, resource, resourceParameter, tokenParameters]);
}

/** Tells those apart, most often, that ask for the same with other credentials. A byte is too little to try secrets against. */
export async function fingerprintOf(session: Owner): Promise<string> {
  const { clientSecret, privateKey } = session.options;
  const known = [requestOf(session), clientSecret, privateKey].map((part) => (typeof part === "string" ? part : ""));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(known)));
  return String(new Uint8Array(digest)[0]);
}

/**
 * The stored token of one program. What a newer one has replaced does not count any more, also where it could neither be
 * overwritten nor deleted.
 */
export class MachineTokenStore {
  readonly #session: Owner & { store: Store };
  #replaced: string | undefined;
  /** As the store last had it. */
  #found: string | undefined;

  constructor(session: Owner & { store: Store }) {
    this.#session = session;
  }

  /** The token, if it is what these options ask for. @throws McpAuthError what reading the store throws */
  async read(): Promise<MachineRecord | undefined> {
    const { store } = this.#session;
    const found = await store.get(machineKey(this.#session));
    const { v, accessToken, issuer, resource, requestedScopes, issuedAt, request } = (found ?? {}) as Partial<MachineRecord>;
    // It can be had again: what cannot be understood is none.
    const isSound = [accessToken, issuer, resource].every((text) => typeof text === "string") && Array.isArray(requestedScopes);
    this.#found = accessToken;
    const isOurs = v === 1 && isSound && typeof issuedAt === "number" && request === requestOf(this.#session);
    return isOurs && accessToken !== this.#replaced ? (found as unknown as MachineRecord) : undefined;
  }

  /** Replaces the token that was read last. @throws McpAuthError what the store throws: the old one does not count any more all the same */
  async write(held: HeldLock, record: MachineRecord): Promise<void> {
    await this.#replacing(held.set(machineKey(this.#session), record as unknown as StoredRecord));
  }

  /** Deletes the token that was read last: it was refused. */
  async delete(held: HeldLock): Promise<void> {
    await this.#replacing(held.delete(machineKey(this.#session))).catch(() => {});
  }

  async #replacing(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#replaced = this.#found;
      throw error;
    }
  }
}
