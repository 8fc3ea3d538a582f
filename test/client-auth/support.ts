import { inspect } from "node:util";
import { exportJWK, exportPKCS8, generateKeyPair } from "jose";
import type { JWK } from "oidc-provider";
import { expect } from "vitest";
import { machineAuthentication, selectEndpoints } from "../../src/client-auth/machine-authentication.ts";
import type { MachineClient, Signer } from "../../src/client-auth/machine-client.ts";
import { discoverAuthorizationServer } from "../../src/discovery/server-metadata.ts";
import { requestClientToken } from "../../src/grants/client-credentials.ts";
import { createHttp, type HttpOptions } from "../../src/http/http.ts";
import type { ProtectedServer } from "../fixture/index.ts";
import { toolRequest } from "../fixture/tool-request.ts";

/** Asks the real authorization server for a token, and uses it for a real call of the MCP server. */
export async function whoami(
  server: ProtectedServer,
  client: MachineClient,
  { fetch = globalThis.fetch }: HttpOptions = {},
): Promise<unknown> {
  const token = await tokenFor(server, client, { fetch });
  const { headers, ...call } = toolRequest("whoami");
  const response = await fetch(server.url, { ...call, headers: { ...(headers as object), authorization: `Bearer ${token}` } });
  if (!response.ok) return response.status;
  const { result } = (await response.json()) as { result: { content: [{ text: string }] } };
  return JSON.parse(result.content[0].text);
}

/** Asks the real authorization server for a token. */
export async function tokenFor(server: ProtectedServer, client: MachineClient, options: HttpOptions = {}): Promise<string | undefined> {
  const http = createHttp(options);
  const found = selectEndpoints(client, await discoverAuthorizationServer(server.authorizationServer.issuer, { http }));
  const answer = await requestClientToken({
    server: found,
    http,
    resource: server.url,
    scopes: ["mcp:read"],
    client: { clientId: client.clientId ?? "", tokenEndpointAuthMethod: "none" },
    authentication: machineAuthentication(client, found),
  });
  return answer.accessToken;
}

/** One key in every form, and the JWK that the server gets. */
export async function keyForms(algorithm: string) {
  const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true });
  const [pem, jwk, publicJwk] = await Promise.all([exportPKCS8(privateKey), exportJWK(privateKey), exportJWK(publicKey)]);
  const usages: KeyUsage[] = ["sign"];
  const signer: Signer = {
    algorithm,
    sign: async (data) => new Uint8Array(await crypto.subtle.sign(signParameters(privateKey), privateKey, data)),
  };
  return {
    publicJwk: publicJwk as JWK,
    forms: {
      PEM: pem,
      "PEM with line breaks as text": pem.trim().replaceAll("\n", "\\n"),
      "PEM with Windows line breaks and text around it": `Key Attributes\r\n${pem.replaceAll("\n", "\r\n")}\r\nend`,
      JWK: jwk as JsonWebKey,
      "JWK as text": ` ${JSON.stringify(jwk, undefined, 2)}\n`,
      CryptoKey: privateKey,
      "CryptoKey that cannot be exported": await crypto.subtle.importKey("jwk", jwk as JsonWebKey, privateKey.algorithm, false, usages),
      Signer: signer,
    },
  };
}

/** As a KMS would do it. */
function signParameters({ algorithm }: CryptoKey): AlgorithmIdentifier | RsaPssParams | EcdsaParams {
  const { name, namedCurve } = algorithm as EcKeyAlgorithm;
  if (name === "ECDSA") return { name, hash: `SHA-${namedCurve === "P-521" ? 512 : namedCurve.slice(2)}` };
  return name === "RSA-PSS" ? { name, saltLength: 32 } : { name };
}

/** Nothing of an error, however it is printed, may hold any of these, nor a line of a PEM. */
export function expectSecretsAbsent(error: unknown, ...secrets: string[]): void {
  const printed = inspect(error, { depth: 10, showHidden: true, getters: true }) + JSON.stringify(error) + String((error as Error).stack);
  const lines = secrets
    .flatMap((secret) => [secret, ...secret.split(/\r?\n|\\n/)])
    .filter((line) => line.length >= 12 && !line.startsWith("-----"));
  for (const line of lines) expect(printed).not.toContain(line);
}
