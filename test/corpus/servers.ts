/**
 * What real servers publish, cut down to what a client reads: one a kind. Where each is told in public stands beside it, or at
 * its profile. Tenants and clients are made up.
 */
import type { TokenManagerOptions } from "../../src/index.ts";
import type { Outcome, Provider } from "./provider.ts";

/** One login: kind and provider, what it is like, options of the app, what must come of it. */
export type Case = [kind: string, provider: Provider, options: Partial<TokenManagerOptions>, expected: Partial<Outcome>];

/** `resource` and the issuers that it lists. */
const resource = (url: string, ...issuers: string[]) => ({ resource: url, authorization_servers: issuers });

/** Metadata with endpoints at the issuer, or where they are given. */
function server(issuer: string, more: Record<string, unknown> = {}) {
  const base = issuer.replace(/\/$/, "");
  return {
    issuer,
    authorization_endpoint: `${base}/authorize`,
    token_endpoint: `${base}/token`,
    code_challenge_methods_supported: ["S256"],
    token_endpoint_auth_methods_supported: ["none", "client_secret_basic", "client_secret_post"],
    ...more,
  };
}

/** It registers clients. */
const registering = (issuer: string, more: Record<string, unknown> = {}) =>
  server(issuer, { registration_endpoint: `${issuer.replace(/\/$/, "")}/register`, ...more });

const protectedPlace = (url: string) => url.replace(/^(https:\/\/[^/]+)\/?/, "$1/.well-known/oauth-protected-resource/").replace(/\/$/, "");
const oauth = (issuer: string) => issuer.replace(/^(https:\/\/[^/]+)/, "$1/.well-known/oauth-authorization-server").replace(/\/$/, "");
const appended = (issuer: string) => `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;

const works = { login: "works", refresh: "works", concessions: [] };
const client = { clientId: "an-app" };
const tools = "https://tools.example.com/mcp";
const tenant = "72f988bf-0000-4000-8000-000000000001";

/** Entra's documents list neither S256 nor registration. */
function entra(url: string, listed: string, names = listed, host = "https://login.microsoftonline.com", path = tenant): Provider {
  const endpoints = {
    authorization_endpoint: `${host}/${path}/oauth2/v2.0/authorize`,
    token_endpoint: `${host}/${path}/oauth2/v2.0/token`,
  };
  const document = server(names, { ...endpoints, code_challenge_methods_supported: undefined });
  return {
    url,
    documents: { [protectedPlace(url)]: resource(url, listed), [appended(listed)]: document },
    refuses: ["resource"],
    refreshNeeds: ["scope"],
  };
}

const auth0 = (issuer: string, listed = issuer): Provider => ({
  url: tools,
  documents: {
    [protectedPlace(tools)]: resource(tools, listed),
    [appended(issuer)]: server(issuer, {
      token_endpoint: `${issuer}oauth/token`,
      registration_endpoint: `${issuer}oidc/register`,
      device_authorization_endpoint: `${issuer}oauth/device/code`,
      mfa_challenge_endpoint: `${issuer}mfa/challenge`,
    }),
  },
  needs: ["audience"],
});

const cognito = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Example";
const cognitoDocument = server(cognito, {
  authorization_endpoint: "https://acme.auth.eu-central-1.amazoncognito.com/oauth2/authorize",
  token_endpoint: "https://acme.auth.eu-central-1.amazoncognito.com/oauth2/token",
  code_challenge_methods_supported: undefined,
});
const runtime = (colon: string) =>
  `https://bedrock-agentcore.eu-central-1.amazonaws.com/runtimes/arn${colon}aws${colon}bedrock-agentcore${colon}runtime%2Ftools/invocations`;

const linear = "https://mcp.linear.app";
const sandbox = "https://acme--uat.sandbox.my.salesforce.com";
const sobjects = "https://api.salesforce.com/platform/mcp/v1/sandbox/sobject-all";
const datadog = "https://mcp.datadoghq.com/v1/mcp";
const atlassian = "https://mcp.atlassian.com";
const openAuth = "https://auth.acme.dev";
const snowflake = "https://acme.snowflakecomputing.com";
const authentik = "https://auth.acme.example/application/o/mcp";

/** A server of one's own, before an authorization server that is whole. */
const own = (challenge: string, more: Provider["documents"] = {}): Provider => ({
  url: tools,
  challenge,
  documents: { [oauth("https://as.acme.example")]: registering("https://as.acme.example"), ...more },
});
const ownResource = { [protectedPlace(tools)]: resource(tools, "https://as.acme.example") };

export const cases: readonly Case[] = [
  // Where documents stand.
  [
    "Linear: everything on one host",
    {
      url: `${linear}/mcp`,
      documents: { [protectedPlace(`${linear}/mcp`)]: resource(`${linear}/mcp`, linear), [oauth(linear)]: registering(linear) },
    },
    {},
    { ...works, issuer: linear, resource: `${linear}/mcp` },
  ],
  [
    "GitHub: an issuer with a path, no registration, an app of one's own",
    {
      url: "https://api.githubcopilot.com/mcp/",
      documents: {
        [`${protectedPlace("https://api.githubcopilot.com/mcp")}/`]: resource(
          "https://api.githubcopilot.com/mcp",
          "https://github.com/login/oauth",
        ),
        [oauth("https://github.com/login/oauth")]: server("https://github.com/login/oauth", {
          token_endpoint: "https://github.com/login/oauth/access_token",
        }),
      },
    },
    client,
    { ...works, issuer: "https://github.com/login/oauth", resource: "https://api.githubcopilot.com/mcp" },
  ],
  [
    "Asana: no registration, and no app of one's own",
    {
      url: "https://mcp.asana.com/v2/mcp",
      documents: {
        [protectedPlace("https://mcp.asana.com/v2/mcp")]: resource("https://mcp.asana.com/v2/mcp", "https://app.asana.com"),
        [oauth("https://app.asana.com")]: server("https://app.asana.com"),
      },
    },
    {},
    { login: "registration_unsupported" },
  ],
  [
    "Keycloak: metadata at the appended form of a realm",
    {
      url: tools,
      documents: {
        [protectedPlace(tools)]: resource(tools, "https://sso.acme.example/realms/tools"),
        [appended("https://sso.acme.example/realms/tools")]: registering("https://sso.acme.example/realms/tools"),
      },
    },
    {},
    works,
  ],
  [
    "Okta: no S256 in the OpenID document at the inserted form, whole at the other",
    {
      url: tools,
      documents: {
        [protectedPlace(tools)]: resource(tools, "https://acme.okta.com/oauth2/default"),
        [oauth("https://acme.okta.com/oauth2/default")]: server("https://acme.okta.com/oauth2/default", {
          code_challenge_methods_supported: undefined,
        }),
        [appended("https://acme.okta.com/oauth2/default")]: server("https://acme.okta.com/oauth2/default"),
      },
    },
    client,
    works,
  ],
  [
    "Datadog: an issuer with a path, metadata at the host alone; 127.0.0.1 only",
    {
      url: datadog,
      challenge: "",
      documents: {
        "https://mcp.datadoghq.com/.well-known/oauth-protected-resource": resource(datadog, datadog),
        "https://mcp.datadoghq.com/.well-known/oauth-authorization-server": registering(datadog, {
          authorization_endpoint: "https://app.datadoghq.com/oauth2/v1/authorize",
          token_endpoint: "https://app.datadoghq.com/api/v2/oauth2/token",
        }),
      },
      redirectHost: "127.0.0.1",
    },
    {},
    { ...works, issuer: datadog, profile: "Datadog", concessions: ["metadata-place"] },
  ],
  [
    "Retool: 403 at the path's well-known places, whole at the host's",
    {
      url: "https://acme.retool.com/mcp",
      challenge: "",
      documents: {
        [protectedPlace("https://acme.retool.com/mcp")]: 403,
        "https://acme.retool.com/.well-known/oauth-protected-resource": resource("https://acme.retool.com/mcp", "https://acme.retool.com"),
        [oauth("https://acme.retool.com")]: registering("https://acme.retool.com"),
      },
    },
    {},
    works,
  ],
  // Servers without metadata of the resource.
  [
    "Atlassian, first version: the host's metadata name another issuer, whose own count",
    {
      url: `${atlassian}/v1/sse`,
      challenge: "",
      documents: {
        [oauth(atlassian)]: registering("https://cf.mcp.atlassian.com", { token_endpoint: "https://not.used.example/token" }),
        [oauth("https://cf.mcp.atlassian.com")]: registering("https://cf.mcp.atlassian.com"),
      },
    },
    {},
    { ...works, issuer: "https://cf.mcp.atlassian.com", concessions: ["issuer-pointer"] },
  ],
  [
    "Salesforce, early 2026: its servers publish the sandbox's metadata below their path (forcedotcom/mcp-hosted #24)",
    { url: sobjects, challenge: "", documents: { [oauth(sobjects)]: server("https://test.salesforce.com") }, redirectHost: "localhost" },
    client,
    { ...works, issuer: "https://test.salesforce.com", profile: "Salesforce", concessions: ["issuer-published-elsewhere"] },
  ],
  [
    "a server of 2025-03-26 without any metadata",
    {
      url: "https://old.example/sse",
      challenge: "",
      documents: {},
      endpoints: { authorize: "https://old.example/authorize", token: "https://old.example/token" },
    },
    client,
    { ...works, issuer: "https://old.example", resource: "https://old.example/sse" },
  ],
  // Challenges.
  [
    "Cloudflare Access: the URL in a challenge of its own scheme",
    own('Cloudflare-Access resource_metadata="https://tools.example.com/.well-known/access"', {
      "https://tools.example.com/.well-known/access": resource(tools, "https://as.acme.example"),
    }),
    {},
    works,
  ],
  [
    "tsidp: the challenge's URL is dead",
    own('Bearer resource_metadata="https://gone.example/prm"', ownResource),
    {},
    { ...works, concessions: ["resource-metadata-url"] },
  ],
  [
    "zed: the challenge's URL is relative",
    own('Bearer resource_metadata="/prm"', ownResource),
    {},
    { ...works, concessions: ["resource-metadata-url"] },
  ],
  [
    "agentgateway: the challenge's URL is plain http, behind a proxy",
    own(`Bearer resource_metadata="${protectedPlace(tools).replace("https", "http")}"`, ownResource),
    {},
    { ...works, concessions: ["resource-metadata-url"] },
  ],
  [
    "neotoma: the challenge's URL is dead, and nothing else there",
    own('Bearer resource_metadata="https://gone.example/prm"'),
    {},
    { login: "invalid_resource_metadata" },
  ],
  // Documents with holes.
  [
    "Envoy AI gateway: endpoints that are empty",
    own("", {
      ...ownResource,
      [oauth("https://as.acme.example")]: server("https://as.acme.example", { registration_endpoint: "", revocation_endpoint: "" }),
    }),
    client,
    works,
  ],
  [
    "two authorization servers, the first for machines alone",
    own("", {
      [protectedPlace(tools)]: resource(tools, "https://machines.acme.example", "https://as.acme.example"),
      [oauth("https://machines.acme.example")]: server("https://machines.acme.example", { authorization_endpoint: undefined }),
    }),
    {},
    { ...works, issuer: "https://as.acme.example" },
  ],
  [
    "Figma: registration for those on its list alone",
    {
      url: "https://mcp.figma.com/mcp",
      documents: {
        [protectedPlace("https://mcp.figma.com/mcp")]: resource("https://mcp.figma.com/mcp", "https://api.figma.com"),
        [oauth("https://api.figma.com")]: registering("https://api.figma.com"),
      },
      registration: 403,
    },
    {},
    { login: "registration_refused" },
  ],
  // PKCE that is not listed.
  [
    "OpenAuth: S256 is supported, and not listed",
    own("", {
      [protectedPlace(tools)]: resource(tools, openAuth),
      [oauth(openAuth)]: registering(openAuth, { code_challenge_methods_supported: undefined }),
    }),
    {},
    { login: "pkce_unsupported" },
  ],
  [
    "OpenAuth, by an app that knows it",
    own("", {
      [protectedPlace(tools)]: resource(tools, openAuth),
      [oauth(openAuth)]: registering(openAuth, { code_challenge_methods_supported: undefined }),
    }),
    { assumePkce: [openAuth] },
    { ...works, concessions: ["pkce-not-listed"] },
  ],
  [
    "Salesforce sandbox: no S256 listed, localhost only",
    {
      url: sobjects,
      documents: {
        [protectedPlace(sobjects)]: resource(sobjects, sandbox),
        [oauth(sandbox)]: server(sandbox, { code_challenge_methods_supported: undefined }),
      },
      redirectHost: "localhost",
    },
    client,
    { ...works, profile: "Salesforce", concessions: ["pkce-not-listed"] },
  ],
  [
    "Amazon Cognito before a server of one's own",
    { url: tools, documents: { [protectedPlace(tools)]: resource(tools, cognito), [appended(cognito)]: cognitoDocument } },
    client,
    { ...works, profile: "Amazon Cognito", concessions: ["pkce-not-listed"] },
  ],
  [
    "Bedrock AgentCore: an ARN in the path, whose percent-encoding the metadata write otherwise; the ID token",
    {
      url: runtime("%3A"),
      documents: { [protectedPlace(runtime("%3A"))]: resource(runtime("%3a"), cognito), [appended(cognito)]: cognitoDocument },
      bearer: "id_token",
    },
    client,
    { ...works, profile: "Amazon Cognito before Bedrock AgentCore", concessions: ["pkce-not-listed"], resource: runtime("%3a") },
  ],
  // Microsoft.
  [
    "Entra ID, one tenant",
    entra(tools, `https://login.microsoftonline.com/${tenant}/v2.0`),
    { ...client, scopes: ["api://tools/read"] },
    { ...works, profile: "Microsoft Entra ID", concessions: ["pkce-not-listed"], resource: null },
  ],
  [
    "Azure DevOps: all organizations, by a name that none of them has",
    entra(
      "https://mcp.dev.azure.com/",
      "https://login.microsoftonline.com/organizations/v2.0",
      "https://login.microsoftonline.com/{tenantid}/v2.0",
      undefined,
      "organizations",
    ),
    { ...client, scopes: ["https://mcp.dev.azure.com/.default"] },
    {
      ...works,
      issuer: "https://login.microsoftonline.com/organizations/v2.0",
      profile: "Microsoft Entra ID",
      concessions: ["issuer-template", "pkce-not-listed"],
      resource: null,
    },
  ],
  [
    "Entra ID for the US government, everybody",
    entra(
      tools,
      "https://login.microsoftonline.us/common/v2.0",
      "https://login.microsoftonline.us/{tenantid}/v2.0",
      "https://login.microsoftonline.us",
      "common",
    ),
    { ...client, scopes: ["api://tools/read"] },
    { ...works, issuer: "https://login.microsoftonline.us/common/v2.0", concessions: ["issuer-template", "pkce-not-listed"] },
  ],
  [
    "the template of Entra ID at another host",
    entra(tools, "https://evil.example/common/v2.0", "https://login.microsoftonline.com/{tenantid}/v2.0", "https://evil.example", "common"),
    client,
    { login: "issuer_mismatch" },
  ],
  [
    "Entra External ID: the tenant's ID in place of its name",
    entra(
      tools,
      `https://acme.ciamlogin.com/${tenant}/v2.0`,
      `https://${tenant}.ciamlogin.com/${tenant}/v2.0`,
      "https://acme.ciamlogin.com",
    ),
    { ...client, scopes: ["api://tools/read"] },
    { ...works, profile: "Microsoft Entra External ID", concessions: ["issuer-template", "pkce-not-listed"], resource: null },
  ],
  [
    "Azure AD B2C: one issuer for all policies of a tenant",
    entra(
      tools,
      `https://acme.b2clogin.com/${tenant}/b2c_1_signin/v2.0`,
      `https://acme.b2clogin.com/${tenant}/v2.0/`,
      "https://acme.b2clogin.com",
    ),
    { ...client, scopes: ["https://acme.onmicrosoft.com/tools/read"] },
    { ...works, profile: "Azure AD B2C", concessions: ["issuer-template", "pkce-not-listed"], resource: null },
  ],
  // What else profiles know.
  [
    "Google: listed with a final slash; offline access by parameters of its own",
    {
      url: "https://calendarmcp.googleapis.com/mcp/v1",
      documents: {
        [protectedPlace("https://calendarmcp.googleapis.com/mcp/v1")]: resource(
          "https://calendarmcp.googleapis.com/mcp/v1",
          "https://accounts.google.com/",
        ),
        [appended("https://accounts.google.com")]: server("https://accounts.google.com", {
          token_endpoint: "https://oauth2.googleapis.com/token",
        }),
      },
      needs: ["access_type", "prompt"],
    },
    client,
    { ...works, profile: "Google", concessions: ["issuer-final-slash"] },
  ],
  [
    "Auth0: listed without its final slash; a JWT for `audience` alone",
    auth0("https://acme.us.auth0.com/", "https://acme.us.auth0.com"),
    {},
    { ...works, profile: "Auth0", concessions: ["issuer-final-slash"] },
  ],
  ["Auth0 under a domain of the customer's own", auth0("https://login.acme.example/"), {}, { ...works, profile: "Auth0" }],
  [
    "Slack: tokens of a type of its own",
    {
      url: "https://mcp.slack.com/mcp",
      documents: {
        "https://mcp.slack.com/.well-known/oauth-protected-resource": resource("https://mcp.slack.com", "https://mcp.slack.com"),
        [oauth("https://mcp.slack.com")]: server("https://mcp.slack.com", {
          authorization_endpoint: "https://slack.com/oauth/v2_user/authorize",
          token_endpoint: "https://slack.com/api/oauth.v2.user.access",
        }),
      },
      challenge: 'Bearer resource_metadata="https://mcp.slack.com/.well-known/oauth-protected-resource"',
      tokenType: "user",
    },
    client,
    { ...works, profile: "Slack", resource: "https://mcp.slack.com" },
  ],
  // Names that differ, servers that publish nothing.
  [
    "authentik: listed without the slash that its name ends with",
    own("", { [protectedPlace(tools)]: resource(tools, authentik), [appended(authentik)]: server(`${authentik}/`) }),
    client,
    { login: "issuer_mismatch" },
  ],
  [
    "authentik, by an app that allows this pair",
    own("", { [protectedPlace(tools)]: resource(tools, authentik), [appended(authentik)]: server(`${authentik}/`) }),
    { ...client, issuerAlias: { expected: authentik, found: `${authentik}/` } },
    { ...works, issuer: `${authentik}/`, concessions: ["issuer-alias"] },
  ],
  [
    "authentik, by an app that allows this pair and names the issuer as the server does",
    own("", { [protectedPlace(tools)]: resource(tools, authentik), [appended(authentik)]: server(`${authentik}/`) }),
    { ...client, issuer: authentik, issuerAlias: { expected: authentik, found: `${authentik}/` } },
    { ...works, issuer: `${authentik}/`, concessions: ["issuer-alias"] },
  ],
  [
    "Snowflake: no metadata at all",
    {
      url: `${snowflake}/api/v2/databases/db/schemas/s/mcp-servers/tools`,
      challenge: "",
      documents: {},
      endpoints: { authorize: `${snowflake}/oauth/authorize`, token: `${snowflake}/oauth/token-request` },
    },
    {
      ...client,
      issuer: snowflake,
      authorizationEndpoint: `${snowflake}/oauth/authorize`,
      tokenEndpoint: `${snowflake}/oauth/token-request`,
    },
    { ...works, issuer: snowflake },
  ],
  [
    "Snowflake, by an app that names the issuer alone",
    { url: `${snowflake}/api/v2/mcp`, challenge: "", documents: {} },
    { ...client, issuer: snowflake },
    { login: "discovery_failed" },
  ],
  [
    "metadata at a place of their own",
    own("", {
      ...ownResource,
      [oauth("https://as.acme.example")]: 404,
      "https://cdn.acme.example/as.json": registering("https://as.acme.example"),
    }),
    { metadataUrl: "https://cdn.acme.example/as.json" },
    { ...works, issuer: "https://as.acme.example" },
  ],
];
