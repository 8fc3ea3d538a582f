import { createPrivateKey, sign } from "node:crypto";
import { inspect } from "node:util";
import { jwtVerify } from "jose";
import { describe, expect, test } from "vitest";
import { machineAuthentication } from "../../src/client-auth/machine-authentication.ts";
import type { Signer } from "../../src/client-auth/machine-client.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import { McpAuthError } from "../../src/errors.ts";
import { failure, ManualClock, never } from "../discovery/support.ts";
import { keyForms } from "./support.ts";

const issuer = "https://as.example";

/** The assertion that a program with this signer sends. */
async function assertionBy(signer: Signer, clock: Clock = systemClock, server: object = {}): Promise<string> {
  const body = new URLSearchParams();
  await machineAuthentication({ clientId: "robot", privateKey: signer }, { issuer, ...server }, clock)(
    { issuer },
    { client_id: "robot" },
    body,
    new Headers(),
  );
  return body.get("client_assertion") ?? "";
}

describe("a signer gets the signing input of JWS, and gives the signature", () => {
  test.each(["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"])(
    "%s, as a key service with Node's crypto does it",
    async (algorithm) => {
      const { forms, publicJwk } = await keyForms(algorithm);
      const signed: string[] = [];
      const signer: Signer = {
        algorithm,
        keyId: "key-1",
        async sign(data) {
          signed.push(new TextDecoder().decode(data));
          return forms.Signer.sign(data);
        },
      };
      const assertion = await assertionBy(signer);
      const { protectedHeader, payload } = await jwtVerify(assertion, publicJwk as never, { issuer: "robot", audience: issuer });
      expect(protectedHeader).toEqual({ alg: algorithm, typ: "JWT", kid: "key-1" });
      expect(payload.sub).toBe("robot");
      expect(signed).toEqual([assertion.split(".").slice(0, 2).join(".")]);
    },
  );

  test("text beyond ASCII is signed as UTF-8", async () => {
    const { forms, publicJwk } = await keyForms("ES256");
    const assertion = await assertionBy({ ...forms.Signer, keyId: "schlüssel 🔑" });
    expect((await jwtVerify(assertion, publicJwk as never)).protectedHeader.kid).toBe("schlüssel 🔑");
  });
});

describe("what a signer does wrong", async () => {
  const { forms } = await keyForms("ES256");
  const key = createPrivateKey(forms.PEM);
  const der: Signer = { algorithm: "ES256", sign: async (data) => new Uint8Array(sign("sha256", data, key)) };

  test.each<[string, Signer, string, RegExp]>([
    ["DER in place of R and S", der, "invalid_option", /ES256 has \d\d bytes, not 64.* Convert it from DER to R and S/],
    ["a short signature", { ...der, sign: async () => new Uint8Array(32) }, "invalid_option", /has 32 bytes, not 64/],
    ["nothing", { ...der, sign: async () => new Uint8Array() }, "invalid_option", /must be a Uint8Array with a signature/],
    ["text", { ...der, sign: async () => "c2ln" as never }, "invalid_option", /must be a Uint8Array with a signature/],
    ["an algorithm that is none", { ...der, algorithm: "none" }, "invalid_option", /`privateKey` can do none/],
    ["a symmetric algorithm", { ...der, algorithm: "HS256" }, "invalid_option", /`privateKey` can do HS256/],
  ])("%s", async (_what, signer, code, message) => {
    const error = await failure(assertionBy(signer));
    expect(error).toMatchObject({ code });
    expect(String(error)).toMatch(message);
  });

  test("its algorithm is not listed", async () => {
    const error = await failure(assertionBy(der, systemClock, { token_endpoint_auth_signing_alg_values_supported: ["RS256"] }));
    expect(error.message).toMatch(/the server lists RS256; `privateKey` can do ES256/);
  });

  test.each([
    [
      "throws",
      () => {
        throw new Error("access denied by the key service");
      },
    ],
    ["rejects", () => Promise.reject(new Error("access denied by the key service"))],
  ])("it %s: credential_unavailable, with its reason", async (_how, fail) => {
    const error = await failure(assertionBy({ ...der, sign: fail }));
    expect(error).toMatchObject({ code: "credential_unavailable", cause: { message: "access denied by the key service" } });
  });

  test("it throws an error of ours, which says more: that one", async () => {
    const busy = new McpAuthError("rate_limited");
    expect(await failure(assertionBy({ ...der, sign: () => Promise.reject(busy) }))).toBe(busy);
  });

  test("it hangs: timeout after 10 seconds", async () => {
    const clock = new ManualClock();
    const asked = failure(assertionBy({ ...der, sign: never as never }, clock));
    expect(await clock.next()).toBe(10_000);
    expect((await asked).code).toBe("timeout");
  });
});

test("what authenticates shows no key when it is printed", async () => {
  const { forms } = await keyForms("ES256");
  for (const privateKey of [forms.PEM, forms.JWK]) {
    const authentication = machineAuthentication({ clientId: "robot", privateKey }, { issuer });
    await authentication({ issuer }, { client_id: "robot" }, new URLSearchParams(), new Headers());
    expect(inspect(authentication, { depth: 10, showHidden: true })).not.toContain((forms.JWK as { d: string }).d);
  }
});
