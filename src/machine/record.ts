import type { StoredRecord } from "../stores/store.ts";
import type { IssuedToken } from "../tokens/token-record.ts";
import type { MachineSession } from "./session.ts";

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

/** Where a program's token is kept: those who ask for the same share it. */
export function machineKey({ server, options }: MachineSession): string {
  const { account = "default", clientId, assertion, scopes = [] } = options;
  // A client that speaks for itself is somebody else than one that speaks for others.
  const speaksFor = assertion && `assertion ${assertion.identity ?? ""}`;
  const parts = [account, clientId ?? "", speaksFor ?? "", [...scopes].sort().join(" ")];
  return `machine/${parts.map(encodeURIComponent).join("/")}/${server}`;
}

/** What beside the key makes a token what it is: another one is of no use. */
export function requestOf({ options }: MachineSession): string {
  const { issuer, tokenEndpoint, resource, resourceParameter, tokenParameters } = options;
  return JSON.stringify([issuer, tokenEndpoint, resource, resourceParameter, tokenParameters]);
}

/** Tells those apart, most often, that ask for the same with other credentials. A byte is too little to try secrets against. */
export async function fingerprintOf(session: MachineSession): Promise<string> {
  const { clientSecret, privateKey } = session.options;
  const known = [requestOf(session), clientSecret, privateKey].map((part) => (typeof part === "string" ? part : ""));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(known)));
  return String(new Uint8Array(digest)[0]);
}

/**
 * The stored token, if it is what these options ask for.
 *
 * @throws McpAuthError what reading the store throws
 */
export async function readRecord(session: MachineSession): Promise<MachineRecord | undefined> {
  const found = await session.store.get(machineKey(session));
  const { v, accessToken, issuer, resource, requestedScopes, issuedAt, request } = (found ?? {}) as Partial<MachineRecord>;
  // It can be had again: what cannot be understood is none.
  const isSound = [accessToken, issuer, resource].every((text) => typeof text === "string") && Array.isArray(requestedScopes);
  return v === 1 && isSound && typeof issuedAt === "number" && request === requestOf(session)
    ? (found as unknown as MachineRecord)
    : undefined;
}

/** For `Store.set`, whose records are open. */
export function asStored(record: MachineRecord): StoredRecord {
  return record as unknown as StoredRecord;
}
