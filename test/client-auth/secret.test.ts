import { describe, expect, test } from "vitest";
import { type ClientIdentity, clientAuthentication } from "../../src/client-auth/secret.ts";

/** What a token request of this client carries. */
async function present(client: ClientIdentity) {
  const body = new URLSearchParams();
  const headers = new Headers();
  const server = { issuer: "https://as.example" };
  await clientAuthentication(client)(server, { client_id: client.clientId }, body, headers);
  const [scheme, credentials = ""] = headers.get("authorization")?.split(" ") ?? [];
  return { scheme, credentials: atob(credentials), body: Object.fromEntries(body) };
}

describe("RFC 6749 §2.3.1 client_secret_basic", () => {
  test.each([
    // what is issued, what is sent: the second decodes to the first, and is the same wherever it can be
    ["letters and the marks that form encoding leaves", "a-b_c.d*9", "a-b_c.d*9"],
    ["a colon, which separates ID and secret", "urn:x", "urn%3Ax"],
    ["a metadata document's URL", "https://app.example/client.json", "https%3A%2F%2Fapp.example%2Fclient.json"],
    ["space, plus, percent", "a +%b", "a+%2B%25b"],
    ["text that is not ASCII", "schlüssel", "schl%C3%BCssel"],
  ])("%s", async (_name, issued, sent) => {
    const { scheme, credentials, body } = await present({
      clientId: issued,
      clientSecret: issued,
      tokenEndpointAuthMethod: "client_secret_basic",
    });
    expect([scheme, credentials, body]).toEqual(["Basic", `${sent}:${sent}`, {}]);
    expect(new URLSearchParams(`value=${sent}`).get("value")).toBe(issued);
  });
});

test.each([
  ["client_secret_post", { client_id: "c:1", client_secret: "s +" }],
  ["none", { client_id: "c:1" }],
] as const)("%s: in the body, no header", async (tokenEndpointAuthMethod, expected) => {
  const { scheme, body } = await present({ clientId: "c:1", clientSecret: "s +", tokenEndpointAuthMethod });
  expect([scheme, body]).toEqual([undefined, expected]);
});

test.each(["client_secret_basic", "client_secret_post"] as const)("%s without a secret is refused", (tokenEndpointAuthMethod) => {
  expect(() => clientAuthentication({ clientId: "c", tokenEndpointAuthMethod })).toThrow(
    expect.objectContaining({ code: "invalid_option" }),
  );
});
