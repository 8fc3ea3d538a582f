/** What a particular authorization server needs beyond the specification. An app's options win over it. */
export interface Profile {
  name: string;
  /** Further parameters of the authorization request. */
  authorizationParameters?: Readonly<Record<string, string>> | undefined;
  /** The server refuses the `resource` parameter. */
  resourceParameter?: boolean | undefined;
  /** The server wants the resource as `audience` in the authorization request. */
  audienceFromResource?: true | undefined;
  /** A refresh must repeat the scopes. */
  refreshScope?: boolean | undefined;
  /** The only loopback host that the server accepts in redirect URIs. */
  redirectHost?: "localhost" | "127.0.0.1" | undefined;
  /** The protected server wants this instead of the access token. */
  bearer?: "access_token" | "id_token" | undefined;
  /** Values of `token_type`, in lower case, that mean `Bearer` there. */
  tokenTypes?: readonly string[] | undefined;
}

/** Hosts are matched by whole labels from the right; `*` stands for one label. */
const entries: readonly [profile: Profile, issuers: readonly string[], servers?: readonly string[]][] = [
  [{ name: "Google", authorizationParameters: { access_type: "offline", prompt: "consent" } }, ["accounts.google.com"]],
  [
    { name: "Microsoft Entra ID", resourceParameter: false, refreshScope: true },
    ["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"],
  ],
  [{ name: "Auth0", audienceFromResource: true }, ["auth0.com"]],
  [{ name: "Salesforce", redirectHost: "localhost" }, ["salesforce.com"]],
  [{ name: "Datadog", redirectHost: "127.0.0.1" }, ["datadoghq.com", "datadoghq.eu", "ddog-gov.com"]],
  [
    { name: "Amazon Cognito before Bedrock AgentCore", bearer: "id_token" },
    ["cognito-idp.*.amazonaws.com"],
    ["bedrock-agentcore.*.amazonaws.com"],
  ],
  // docs.slack.dev, oauth.v2.access and oauth.v2.user.access (November 2026)
  [{ name: "Slack", tokenTypes: ["user", "bot"] }, ["slack.com"]],
];

/** The profile of an authorization server, seen from one protected server. */
export function profileFor(issuer: string, serverUrl: string): Profile | undefined {
  return entries.find(([, issuers, servers]) => matches(issuer, issuers) && (!servers || matches(serverUrl, servers)))?.[0];
}

function matches(url: string, patterns: readonly string[]): boolean {
  const labels = URL.parse(url)?.hostname.split(".").reverse() ?? [];
  return patterns.some((pattern) =>
    pattern
      .split(".")
      .reverse()
      .every((label, index) => label === "*" || label === labels[index]),
  );
}
