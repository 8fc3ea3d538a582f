/** What a particular authorization server needs beyond the specification. An app's options win over it. */
export interface Profile {
  name: string;
  /** Further parameters of the authorization request. */
  authorizationParameters?: Readonly<Record<string, string>> | undefined;
  /** The server refuses the `resource` parameter. */
  resourceParameter?: false | undefined;
  /** The server wants the resource as `audience` in the authorization request. */
  audienceFromResource?: true | undefined;
  /** A refresh must repeat the scopes. */
  refreshScope?: true | undefined;
  /** The only loopback host that the server accepts in redirect URIs. */
  redirectHost?: "localhost" | "127.0.0.1" | undefined;
  /** The protected server wants this instead of the access token. */
  bearer?: "id_token" | undefined;
}

/** Hosts are matched by whole labels from the right; `*` stands for one label. */
interface Entry extends Profile {
  issuers: readonly string[];
  servers?: readonly string[];
}

const entries: readonly Entry[] = [
  {
    name: "Google",
    issuers: ["accounts.google.com"],
    authorizationParameters: { access_type: "offline", prompt: "consent" },
  },
  {
    name: "Microsoft Entra ID",
    issuers: ["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"],
    resourceParameter: false,
    refreshScope: true,
  },
  { name: "Auth0", issuers: ["auth0.com"], audienceFromResource: true },
  { name: "Salesforce", issuers: ["salesforce.com"], redirectHost: "localhost" },
  { name: "Datadog", issuers: ["datadoghq.com", "datadoghq.eu", "ddog-gov.com"], redirectHost: "127.0.0.1" },
  {
    name: "Amazon Cognito before Bedrock AgentCore",
    issuers: ["cognito-idp.*.amazonaws.com"],
    servers: ["bedrock-agentcore.*.amazonaws.com"],
    bearer: "id_token",
  },
];

/** The profile of an authorization server, seen from one protected server. */
export function profileFor(issuer: string, serverUrl: string): Profile | undefined {
  const found = entries.find(({ issuers, servers }) => matches(issuer, issuers) && (!servers || matches(serverUrl, servers)));
  if (!found) return undefined;
  const { issuers: _issuers, servers: _servers, ...profile } = found;
  return profile;
}

function matches(url: string, patterns: readonly string[]): boolean {
  if (!URL.canParse(url)) return false;
  const labels = new URL(url).hostname.split(".").reverse();
  return patterns.some((pattern) =>
    pattern
      .split(".")
      .reverse()
      .every((label, index) => label === "*" || label === labels[index]),
  );
}
