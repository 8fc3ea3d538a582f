import type { Store } from "../stores/store.ts";
import type { ClientRegistration } from "./registration.ts";
import { updateRegistration } from "./stored.ts";
import { isUnknownClient } from "./unknown-client.ts";

/**
 * What comes next where the server does not know the client by this method. One that nobody has confirmed is followed by
 * another. Basic, as it was registered, is followed by Basic with the ID in the body, which the servers of the Python SDK
 * want.
 */
function nextMethod(client: ClientRegistration): ClientRegistration | undefined {
  const { authMethodIsAssumed, ...confirmed } = client;
  const { kind, clientSecret, tokenEndpointAuthMethod: method, clientIdInBody } = client;
  if (!clientSecret) return undefined;
  if (authMethodIsAssumed) {
    return { ...confirmed, tokenEndpointAuthMethod: method === "client_secret_post" ? "client_secret_basic" : "client_secret_post" };
  }
  return method === "client_secret_basic" && kind === "dynamic" && !clientIdInBody ? { ...confirmed, clientIdInBody: true } : undefined;
}

/**
 * Sends a request with the client's authentication. Where the server does not know the client by it, the request is sent once
 * more with the next method: a server that refuses the client has spent nothing.
 *
 * @returns the answer, and the client with the method that worked
 * @throws what `send` throws; the first refusal where the second method is refused as well
 * @see RFC 6749 §2.3.1, §5.2
 */
export async function withAuthMethod<T>(
  client: ClientRegistration,
  send: (client: ClientRegistration) => Promise<T>,
): Promise<{ answer: T; client: ClientRegistration }> {
  const { authMethodIsAssumed: _, ...confirmed } = client;
  try {
    return { answer: await send(client), client: confirmed };
  } catch (error) {
    const next = isUnknownClient(error) ? nextMethod(client) : undefined;
    if (!next) throw error;
    try {
      return { answer: await send(next), client: next };
    } catch (second) {
      throw isUnknownClient(second) ? error : second;
    }
  }
}

/** Keeps with the registration the method that worked, where it had been assumed. A store that fails costs the next login a try more. */
export async function keepAuthMethod(store: Store, before: ClientRegistration, worked: ClientRegistration): Promise<void> {
  const { kind, tokenEndpointAuthMethod, clientIdInBody } = worked;
  if (kind !== "dynamic" || !(before.authMethodIsAssumed || clientIdInBody !== before.clientIdInBody)) return;
  await updateRegistration(store, worked, ({ authMethodIsAssumed: _, ...found }) => ({
    ...found,
    tokenEndpointAuthMethod,
    ...(clientIdInBody && { clientIdInBody }),
  })).catch(() => {});
}
