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
  /** It supports PKCE with S256 and does not list it. */
  pkceNotListed?: true | undefined;
  /**
   * What its metadata may say in place of the issuer that was looked for. `{host}` is that one's host, `{tenantid}` the first
   * segment of its path, or stands there literally.
   */
  issuerTemplates?: readonly string[] | undefined;
  /** Protected servers that publish its metadata in its place. */
  publishedBy?: readonly string[] | undefined;
}

const auth0: Profile = { name: "Auth0", audienceFromResource: true };

/**
 * The public source of each stands beside it (November 2026). Hosts are matched by whole labels from the right; `*` stands
 * for one label. The first that fits counts.
 */
const entries: readonly [profile: Profile, issuers: readonly string[], servers?: readonly string[]][] = [
  // developers.google.com/identity/protocols/oauth2/web-server: offline access
  [{ name: "Google", authorizationParameters: { access_type: "offline", prompt: "consent" } }, ["accounts.google.com"]],
  // AADSTS9010010 and AADSTS90009: PrefectHQ/fastmcp #4839; the template, and no list of S256: microsoft/azure-devops-mcp #1601
  [
    {
      name: "Microsoft Entra ID",
      resourceParameter: false,
      refreshScope: true,
      pkceNotListed: true,
      issuerTemplates: ["https://{host}/{tenantid}/v2.0"],
    },
    ["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"],
  ],
  // learn.microsoft.com: issuer of v1 tokens; its document lists as little as the other
  [{ name: "Microsoft Entra ID v1", pkceNotListed: true }, ["sts.windows.net"]],
  // The name that it gives itself: oauth2-proxy/oauth2-proxy #3476, AzureAD/microsoft-authentication-library-for-js #8592
  [
    {
      name: "Microsoft Entra External ID",
      resourceParameter: false,
      refreshScope: true,
      pkceNotListed: true,
      issuerTemplates: ["https://{tenantid}.ciamlogin.com/{tenantid}/v2.0"],
    },
    ["ciamlogin.com"],
  ],
  // All policies of a tenant share one issuer: coreos/go-oidc #121, Azure/azure-sdk-for-java #21036
  [
    {
      name: "Azure AD B2C",
      resourceParameter: false,
      refreshScope: true,
      pkceNotListed: true,
      issuerTemplates: ["https://{host}/{tenantid}/v2.0/"],
    },
    ["b2clogin.com"],
  ],
  // auth0.com/docs: an access token is opaque without `audience`
  [auth0, ["auth0.com"]],
  // No S256 in sandboxes: forcedotcom/mcp-hosted #47; its servers' document in place of its own: #24
  [{ name: "Salesforce", redirectHost: "localhost", pkceNotListed: true, publishedBy: ["api.salesforce.com"] }, ["salesforce.com"]],
  // docs.datadoghq.com: MCP server; `localhost` is registered, then refused
  [{ name: "Datadog", redirectHost: "127.0.0.1" }, ["datadoghq.com", "datadoghq.eu", "ddog-gov.com"]],
  // The ID token: anthropics/claude-code #13275. No list of S256: docs.aws.amazon.com/cognito, "Using PKCE in authorization code grants"
  [
    { name: "Amazon Cognito before Bedrock AgentCore", bearer: "id_token", pkceNotListed: true },
    ["cognito-idp.*.amazonaws.com"],
    ["bedrock-agentcore.*.amazonaws.com"],
  ],
  [{ name: "Amazon Cognito", pkceNotListed: true }, ["cognito-idp.*.amazonaws.com"]],
  // docs.slack.dev, oauth.v2.access and oauth.v2.user.access
  [{ name: "Slack", tokenTypes: ["user", "bot"] }, ["slack.com"]],
];

/**
 * The profile of an authorization server, seen from one protected server.
 *
 * @param metadata what it says of itself, for those that customers run under names of their own
 */
export function profileFor(issuer: string, serverUrl: string, metadata: object = {}): Profile | undefined {
  const entry = entries.find(([, issuers, servers]) => matches(issuer, issuers) && (!servers || matches(serverUrl, servers)));
  return entry?.[0] ?? (isAuth0(issuer, metadata as Record<string, unknown>) ? auth0 : undefined);
}

/**
 * Whether this is an Auth0 tenant under a domain of its own: the endpoints are where they are at all tenants, with one that
 * only Auth0 has among them (the documents of acme.us.auth0.com and auth0.openai.com).
 */
function isAuth0(issuer: string, metadata: Record<string, unknown>): boolean {
  const isAt = (name: string, path: string) => metadata[name] === `${issuer}${path}`;
  return (
    /^https:\/\/[^/]+\/$/.test(issuer) &&
    isAt("token_endpoint", "oauth/token") &&
    (isAt("mfa_challenge_endpoint", "mfa/challenge") ||
      (isAt("registration_endpoint", "oidc/register") && isAt("device_authorization_endpoint", "oauth/device/code")))
  );
}

/** The names that the metadata of an issuer may have in place of its own. */
export function issuerTemplates(issuer: string): string[] {
  const { host, pathname } = URL.parse(issuer) ?? {};
  const templates = host ? (profileFor(issuer, "")?.issuerTemplates ?? []) : [];
  return templates.flatMap((template) => {
    const literal = template.replaceAll("{host}", host ?? "");
    return [literal, literal.replaceAll("{tenantid}", pathname?.split("/")[1] ?? "")];
  });
}

/** Whether a protected server's document about this issuer counts, where the issuer itself publishes none. */
export function isPublishedBy(issuer: string, serverUrl: string): boolean {
  return matches(serverUrl, profileFor(issuer, "")?.publishedBy ?? []);
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
