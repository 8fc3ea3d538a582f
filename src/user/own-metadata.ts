import type { Speculation } from "../discovery/discovery.ts";
import { findProtectedResource } from "../discovery/resource-metadata.ts";
import type { Session } from "../login/session.ts";

/** Whether the protected server publishes metadata: then it has a login, although it did not ask for one. */
export async function hasMetadata({ serverUrl, http, clock }: Session, speculation: Speculation): Promise<boolean> {
  const resource = await findProtectedResource(serverUrl, { http, clock, speculation }).catch(() => undefined);
  return resource !== undefined;
}
