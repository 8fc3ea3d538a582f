import { codeOf } from "../errors.ts";
import type { Store } from "../stores/store.ts";
import type { ClientRegistration, TokenEndpointAuthMethod } from "./registration.ts";
import { updateRegistration } from "./stored.ts";

/** What comes next where a method that nobody has confirmed is refused. */
const next: Readonly<Record<TokenEndpointAuthMethod, TokenEndpointAuthMethod>> = {
  client_secret_basic: "client_secret_post",
  client_secret_post: "client_secret_basic",
  none: "client_secret_post",
};

/**
 * Sends a request with the client's authentication. Where its method was assumed and is refused, the request is sent once more
 * with the next method: a server that refuses the client has spent nothing.
 *
 * @returns the answer, and the client with the method that worked
 * @throws what `send` throws; the first refusal where the second method is refused as well
 * @see RFC 6749 §2.3.1, §5.2
 */
export async function withAuthMethod<T>(
  client: ClientRegistration,
  send: (client: ClientRegistration) => Promise<T>,
): Promise<{ answer: T; client: ClientRegistration }> {
  const { authMethodIsAssumed, ...confirmed } = client;
  try {
    return { answer: await send(client), client: confirmed };
  } catch (error) {
    if (!authMethodIsAssumed || !client.clientSecret || codeOf(error) !== "invalid_client") throw error;
    const other = { ...confirmed, tokenEndpointAuthMethod: next[client.tokenEndpointAuthMethod] };
    try {
      return { answer: await send(other), client: other };
    } catch (second) {
      throw codeOf(second) === "invalid_client" ? error : second;
    }
  }
}

/** Keeps with the registration the method that worked, where it had been assumed. A store that fails costs the next login a try more. */
export async function keepAuthMethod(store: Store, before: ClientRegistration, worked: ClientRegistration): Promise<void> {
  if (worked.kind !== "dynamic" || !before.authMethodIsAssumed) return;
  const { tokenEndpointAuthMethod } = worked;
  await updateRegistration(store, worked, ({ authMethodIsAssumed: _, ...found }) => ({ ...found, tokenEndpointAuthMethod })).catch(
    () => {},
  );
}
