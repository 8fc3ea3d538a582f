import type { ClientIdentity } from "../client-auth/secret.ts";
import {
  callback,
  clock,
  http,
  needed,
  oneOf,
  type Rule,
  type Rules,
  scopes,
  serverMetadata,
  signal,
  text,
  textsByName,
} from "../options.ts";
import type { TokenRequestOptions } from "./token-request.ts";

/** May hold more: what `registerClient` returns is one. */
const client = (): Rule => {
  const method = oneOf("none", "client_secret_basic", "client_secret_post", "private_key_jwt");
  return [
    `an object with \`clientId\` and \`tokenEndpointAuthMethod\`, which is ${method[0]}`,
    (value) => {
      const { clientId, clientSecret, tokenEndpointAuthMethod } = Object(value) as Partial<Record<keyof ClientIdentity, unknown>>;
      return (
        // Without a `clientId` where an assertion is enough.
        typeof clientId === "string" &&
        (clientSecret === undefined || typeof clientSecret === "string") &&
        method[1](tokenEndpointAuthMethod)
      );
    },
  ];
};

export const tokenRequestRules = (): Rules<TokenRequestOptions> => ({
  server: needed(serverMetadata),
  client: needed(client()),
  authentication: callback,
  http: needed(http()),
  clock: clock(),
  signal: signal(),
});

/** What is asked for. */
export const askedRules = () => ({ scopes, resource: text, parameters: textsByName });
