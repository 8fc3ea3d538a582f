import { describe, expect, test } from "vitest";
import { profileFor } from "../../src/profiles/profiles.ts";

const server = "https://mcp.example/mcp";
const cognito = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc";

describe("what particular authorization servers need", () => {
  test.each<[issuer: string, serverUrl: string, profile: Record<string, unknown> | undefined]>([
    ["https://accounts.google.com", server, { name: "Google", authorizationParameters: { access_type: "offline", prompt: "consent" } }],
    ["https://accounts.google.com/", server, { name: "Google", authorizationParameters: { access_type: "offline", prompt: "consent" } }],
    ["https://login.microsoftonline.com/0000/v2.0", server, { name: "Microsoft Entra ID", resourceParameter: false, refreshScope: true }],
    ["https://login.microsoftonline.us/0000/v2.0", server, { name: "Microsoft Entra ID", resourceParameter: false, refreshScope: true }],
    ["https://tenant.eu.auth0.com/", server, { name: "Auth0", audienceFromResource: true }],
    ["https://login.salesforce.com", server, { name: "Salesforce", redirectHost: "localhost" }],
    ["https://acme.my.salesforce.com", server, { name: "Salesforce", redirectHost: "localhost" }],
    ["https://mcp.datadoghq.com", server, { name: "Datadog", redirectHost: "127.0.0.1" }],
    ["https://app.datadoghq.eu", server, { name: "Datadog", redirectHost: "127.0.0.1" }],
    [
      cognito,
      "https://bedrock-agentcore.eu-west-1.amazonaws.com/runtimes/x",
      { name: "Amazon Cognito before Bedrock AgentCore", bearer: "id_token" },
    ],
    [
      cognito,
      "https://gw.gateway.bedrock-agentcore.eu-west-1.amazonaws.com/mcp",
      { name: "Amazon Cognito before Bedrock AgentCore", bearer: "id_token" },
    ],
    ["https://mcp.slack.com", server, { name: "Slack", tokenTypes: ["user", "bot"] }],
    ["https://slack.com", server, { name: "Slack", tokenTypes: ["user", "bot"] }],
    // Cognito elsewhere, and AgentCore behind others, are as the specification has them.
    [cognito, server, undefined],
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
    [cognito, "not a URL", undefined],
  ])("%s before %s", (issuer, serverUrl, profile) => {
    expect(profileFor(issuer, serverUrl)).toEqual(profile);
  });
});
