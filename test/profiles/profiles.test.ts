import { describe, expect, test } from "vitest";
import { isPublishedBy, issuerTemplates, profileFor } from "../../src/profiles/profiles.ts";

const server = "https://mcp.example/mcp";
const cognito = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc";

const entra = {
  name: "Microsoft Entra ID",
  resourceParameter: false,
  refreshScope: true,
  pkceNotListed: true,
  issuerTemplates: ["https://{host}/{tenantid}/v2.0"],
};
const salesforce = { name: "Salesforce", redirectHost: "localhost", pkceNotListed: true, publishedBy: ["api.salesforce.com"] };
const anyCognito = { name: "Amazon Cognito", pkceNotListed: true };

describe("what particular authorization servers need", () => {
  test.each<[issuer: string, serverUrl: string, profile: Record<string, unknown> | undefined]>([
    ["https://accounts.google.com", server, { name: "Google", authorizationParameters: { access_type: "offline", prompt: "consent" } }],
    ["https://accounts.google.com/", server, { name: "Google", authorizationParameters: { access_type: "offline", prompt: "consent" } }],
    ["https://login.microsoftonline.com/0000/v2.0", server, entra],
    ["https://login.microsoftonline.us/0000/v2.0", server, entra],
    ["https://tenant.eu.auth0.com/", server, { name: "Auth0", audienceFromResource: true }],
    ["https://login.salesforce.com", server, salesforce],
    ["https://acme.my.salesforce.com", server, salesforce],
    ["https://mcp.datadoghq.com", server, { name: "Datadog", redirectHost: "127.0.0.1" }],
    ["https://app.datadoghq.eu", server, { name: "Datadog", redirectHost: "127.0.0.1" }],
    [
      cognito,
      "https://bedrock-agentcore.eu-west-1.amazonaws.com/runtimes/x",
      { name: "Amazon Cognito before Bedrock AgentCore", bearer: "id_token", pkceNotListed: true },
    ],
    [
      cognito,
      "https://gw.gateway.bedrock-agentcore.eu-west-1.amazonaws.com/mcp",
      { name: "Amazon Cognito before Bedrock AgentCore", bearer: "id_token", pkceNotListed: true },
    ],
    ["https://mcp.slack.com", server, { name: "Slack", tokenTypes: ["user", "bot"] }],
    ["https://slack.com", server, { name: "Slack", tokenTypes: ["user", "bot"] }],
    ["https://login.partner.microsoftonline.cn/0000/v2.0", server, entra],
    ["https://acme--uat.sandbox.my.salesforce.com", server, salesforce],
    ["https://test.salesforce.com", server, salesforce],
    ["https://sts.windows.net/0000/", server, { name: "Microsoft Entra ID v1", pkceNotListed: true }],
    [
      "https://acme.ciamlogin.com/0000/v2.0",
      server,
      { ...entra, name: "Microsoft Entra External ID", issuerTemplates: ["https://{tenantid}.ciamlogin.com/{tenantid}/v2.0"] },
    ],
    [
      "https://acme.b2clogin.com/0000/b2c_1_signin/v2.0",
      server,
      { ...entra, name: "Azure AD B2C", issuerTemplates: ["https://{host}/{tenantid}/v2.0/"] },
    ],
    [cognito, server, anyCognito],
    // AgentCore behind others is as the specification has it.
    ["https://as.example", "https://bedrock-agentcore.eu-west-1.amazonaws.com/", undefined],
    // Whole labels only.
    ["https://evil-auth0.com", server, undefined],
    ["https://auth0.com.evil.example", server, undefined],
    ["https://evilaccounts.google.com", server, undefined],
    ["https://accounts.google.com.evil.example", server, undefined],
    ["https://google.com", server, undefined],
    ["https://evilslack.com", server, undefined],
    ["https://evil.example/accounts.google.com", server, undefined],
    ["https://accounts.google.com@evil.example", server, undefined],
    ["https://cognito-idp.evil.example.amazonaws.com.evil.example", "https://bedrock-agentcore.eu-west-1.amazonaws.com/", undefined],
    ["https://as.example", server, undefined],
    ["not a URL", server, undefined],
    [cognito, "not a URL", anyCognito],
  ])("%s before %s", (issuer, serverUrl, profile) => {
    expect(profileFor(issuer, serverUrl)).toEqual(profile);
  });
});

describe("Auth0 under a domain of the customer's own", () => {
  const issuer = "https://login.acme.example/";
  const tenant = {
    issuer,
    authorization_endpoint: `${issuer}authorize`,
    token_endpoint: `${issuer}oauth/token`,
    registration_endpoint: `${issuer}oidc/register`,
    device_authorization_endpoint: `${issuer}oauth/device/code`,
    mfa_challenge_endpoint: `${issuer}mfa/challenge`,
  };

  test.each<[rule: string, issuer: string, change: Record<string, unknown>, isRecognised: boolean]>([
    ["as tenants publish it", issuer, {}, true],
    ["without registration", issuer, { registration_endpoint: undefined, device_authorization_endpoint: undefined }, true],
    ["without MFA", issuer, { mfa_challenge_endpoint: undefined }, true],
    ["users are sent to another domain", issuer, { authorization_endpoint: "https://acme.example/authorize" }, true],
    ["neither MFA nor registration", issuer, { mfa_challenge_endpoint: undefined, registration_endpoint: undefined }, false],
    ["tokens elsewhere", issuer, { token_endpoint: `${issuer}token` }, false],
    ["MFA at another host", issuer, { mfa_challenge_endpoint: "https://evil.example/mfa/challenge", registration_endpoint: "" }, false],
    ["an issuer without final slash", "https://login.acme.example", {}, false],
    ["an issuer with a path", `${issuer}tenant/`, {}, false],
  ])("%s", (_, of, change, isRecognised) => {
    expect(profileFor(of, server, { ...tenant, ...change })?.name).toBe(isRecognised ? "Auth0" : undefined);
  });
});

describe("what metadata may say in place of the issuer", () => {
  test.each<[issuer: string, names: string[]]>([
    [
      "https://login.microsoftonline.com/organizations/v2.0",
      ["https://login.microsoftonline.com/{tenantid}/v2.0", "https://login.microsoftonline.com/organizations/v2.0"],
    ],
    [
      "https://login.microsoftonline.us/common/v2.0",
      ["https://login.microsoftonline.us/{tenantid}/v2.0", "https://login.microsoftonline.us/common/v2.0"],
    ],
    ["https://acme.ciamlogin.com/0000/v2.0", ["https://{tenantid}.ciamlogin.com/{tenantid}/v2.0", "https://0000.ciamlogin.com/0000/v2.0"]],
    [
      "https://acme.b2clogin.com/0000/b2c_1_signin/v2.0",
      ["https://acme.b2clogin.com/{tenantid}/v2.0/", "https://acme.b2clogin.com/0000/v2.0/"],
    ],
    ["https://login.microsoftonline.com.evil.example/common/v2.0", []],
    ["https://as.example/common/v2.0", []],
    ["not a URL", []],
  ])("%s", (issuer, names) => {
    expect(issuerTemplates(issuer)).toEqual(names);
  });

  test.each([
    ["https://test.salesforce.com", "https://api.salesforce.com/platform/mcp", true],
    ["https://test.salesforce.com", "https://evil.example/platform/mcp", false],
    ["https://as.example", "https://api.salesforce.com/platform/mcp", false],
  ])("of %s by %s: counts %s", (issuer, serverUrl, counts) => {
    expect(isPublishedBy(issuer, serverUrl)).toBe(counts);
  });
});
