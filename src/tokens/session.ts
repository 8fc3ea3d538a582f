import { type Clock, systemClock } from "../clock.ts";
import { nameInKeys } from "../discovery/server-name.ts";
import { aboutServer, McpAuthError, withoutQuery } from "../errors.ts";
import { type Emit, emitter } from "../events.ts";
import { boundedHttp, type Http } from "../http/http.ts";
import { MemoryStore } from "../stores/memory.ts";
import type { Store } from "../stores/store.ts";
import { namingFailures } from "./named-failures.ts";
import type { SessionOptions } from "./options.ts";

/** What all managers with the same options share: a protected server, and how it and the store are reached. */
export interface ServerAccess {
  readonly serverUrl: URL;
  /** The server's name in events and errors: its URL without query, which may be secret, and fragment. */
  readonly server: string;
  /** The server's name in keys of the store. Computed once, at its first use. */
  readonly serverName: () => Promise<string>;
  readonly options: SessionOptions;
  readonly store: Store;
  readonly http: Http;
  readonly clock: Clock;
}

/** What a manager of tokens has to do with one protected server, whoever the tokens are for. */
export interface ServerSession extends ServerAccess {
  readonly emit: Emit;
  /** The last failure to get a token. */
  lastError: McpAuthError | undefined;
  /** Set once the manager is disposed of. */
  disposed: McpAuthError | undefined;
}

/** @throws McpAuthError `invalid_url`, `insecure_url` or `invalid_option`. */
export function createServerAccess(options: SessionOptions): ServerAccess {
  const { clock = systemClock } = options;
  const http = boundedHttp({ ...options, clock });
  const serverUrl = http.checkUrl(options.serverUrl);
  serverUrl.hash = "";
  checkAccount(options.account);
  const server = withoutQuery(serverUrl.href);
  const store = namingFailures(options.store ?? new MemoryStore(), server);
  let name: Promise<string> | undefined;
  const serverName = () => {
    name ??= nameInKeys(serverUrl.href);
    return name;
  };
  return { serverUrl, server, serverName, options, store, http, clock };
}

/** @throws McpAuthError `invalid_option` */
export function checkAccount(account: string | undefined): void {
  if (account !== undefined && !/^[^/]+$/.test(account))
    throw new McpAuthError("invalid_option", { detail: "`account` is empty or holds a slash" });
}

/** @throws McpAuthError `invalid_url`, `insecure_url` or `invalid_option`. */
export function createServerSession(
  options: SessionOptions,
  access = createServerAccess(options),
  account = options.account,
): ServerSession {
  return { ...access, emit: emitter(options.onEvent, access.server, account), lastError: undefined, disposed: undefined };
}

/** Keeps a failure for those whom transports do not tell, and says which server it was about. Returns it, to be thrown. */
export function remember(session: ServerSession, error: unknown): unknown {
  if (!(error instanceof McpAuthError)) return error;
  session.lastError = aboutServer(error, session.server);
  return error;
}

/** @throws McpAuthError `disposed` */
export function assertUsable({ disposed }: ServerSession): void {
  if (disposed) throw disposed;
}

/** Does `work` for a manager that is not disposed of, and remembers its failure. @throws McpAuthError `disposed`, and as `work` */
export async function remembering<T>(session: ServerSession, work: () => Promise<T>): Promise<T> {
  assertUsable(session);
  try {
    return await work();
  } catch (error) {
    throw remember(session, error);
  }
}

/** From now on nothing new begins. @returns what to say to those who want it all the same */
export function endSession(session: ServerSession): McpAuthError {
  session.disposed ??= new McpAuthError("disposed", { serverUrl: session.server });
  return session.disposed;
}
