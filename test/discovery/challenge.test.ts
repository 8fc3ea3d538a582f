import { describe, expect, test } from "vitest";
import { parseChallenges, readChallenge } from "../../src/discovery/challenge.ts";

/** Scheme, token68 and parameters, in short. */
function short(header: string): unknown[] {
  return parseChallenges(header).map(({ scheme, token68, parameters }) => [scheme, ...(token68 ? [token68] : []), { ...parameters }]);
}

describe("REQ-DISC-01 WWW-Authenticate, RFC 9110 §11.6.1", () => {
  test.each<[rule: string, header: string, challenges: unknown[]]>([
    ["empty header", "", []],
    ["scheme without parameters", "Negotiate", [["negotiate", {}]]],
    [
      "schemes without parameters in a list",
      "Negotiate, NTLM",
      [
        ["negotiate", {}],
        ["ntlm", {}],
      ],
    ],
    ["token parameter", "Bearer error=invalid_token", [["bearer", { error: "invalid_token" }]]],
    ["quoted parameter", 'Bearer scope="a b"', [["bearer", { scope: "a b" }]]],
    ["any case of scheme and name", 'BEARER Scope="A"', [["bearer", { scope: "A" }]]],
    ["quoted pairs", String.raw`Basic realm="say \"hi\" \\ \a"`, [["basic", { realm: 'say "hi" \\ a' }]]],
    [
      "comma and equals sign inside a quoted string",
      'Bearer realm="a, Basic b=c", scope=x',
      [["bearer", { realm: "a, Basic b=c", scope: "x" }]],
    ],
    ["bad whitespace around =", 'Bearer scope \t= \t"a" , error = b', [["bearer", { scope: "a", error: "b" }]]],
    ["empty list elements", ', ,Bearer ,a=b,, ,c="d",', [["bearer", { a: "b", c: "d" }]]],
    [
      "several challenges in one header",
      'Basic realm="x", Bearer realm="y", scope="z"',
      [
        ["basic", { realm: "x" }],
        ["bearer", { realm: "y", scope: "z" }],
      ],
    ],
    [
      "a parameterless challenge between others",
      'Basic realm="x", Negotiate, DPoP algs="ES256"',
      [
        ["basic", { realm: "x" }],
        ["negotiate", {}],
        ["dpop", { algs: "ES256" }],
      ],
    ],
    ["single quotes, with a space inside", "Bearer error='a', scope='b c'", [["bearer", { error: "a", scope: "b c" }]]],
    ["an apostrophe in a token", "Bearer realm=it's, scope='tis", [["bearer", { realm: "it's", scope: "'tis" }]]],
    ["token68", "Negotiate YWJj+/._~-==", [["negotiate", "YWJj+/._~-==", {}]]],
    [
      "token68 before another challenge",
      "Negotiate YWJj== , Bearer a=b",
      [
        ["negotiate", "YWJj==", {}],
        ["bearer", { a: "b" }],
      ],
    ],
    ["what looks like token68 but is a parameter", "Bearer a==b", [["bearer", { a: "=b" }]]],
    ["empty quoted string", 'Bearer realm="", error="x"', [["bearer", { realm: "", error: "x" }]]],
    ["first of a repeated parameter", 'Bearer error="a", error="b"', [["bearer", { error: "a" }]]],
    [
      "the same scheme twice",
      'Bearer a="1", Bearer a="2"',
      [
        ["bearer", { a: "1" }],
        ["bearer", { a: "2" }],
      ],
    ],
    ["missing comma between parameters", 'Bearer a="1" b="2"', [["bearer", { a: "1", b: "2" }]]],
    [
      "unquoted URL",
      "Bearer resource_metadata=https://h.example/a?b=c, scope=d",
      [["bearer", { resource_metadata: "https://h.example/a?b=c", scope: "d" }]],
    ],
    ["unterminated string keeps what came before", 'Bearer a="1", b="2', [["bearer", { a: "1" }]]],
    ["string that ends in a backslash", 'Bearer a="1", b="2\\', [["bearer", { a: "1" }]]],
    ["parameter without value keeps what came before", "Bearer a=1, b=, c=3", [["bearer", { a: "1" }]]],
    ["garbage after a challenge", 'Bearer a="1", (comment)', [["bearer", { a: "1" }]]],
    ["parameter without a scheme", 'realm="x", Bearer a=b', []],
    ["nothing but garbage", '"', []],
    [
      "names that objects have",
      'Bearer __proto__="x", constructor="y", toString="z"',
      [["bearer", { ["__proto__"]: "x", constructor: "y", tostring: "z" }]],
    ],
  ])("%s", (_, header, challenges) => {
    expect(JSON.stringify(short(header))).toBe(JSON.stringify(challenges));
  });

  test("a parameter called __proto__ changes no prototype", () => {
    const [challenge] = parseChallenges('Bearer __proto__="x"');
    expect(challenge && Object.getPrototypeOf(challenge.parameters)).toBe(null);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  test("whatever is cut off or mixed in, it never throws, and challenges before the damage stay", () => {
    // Linear congruential: the same headers in every run.
    let seed = 20261120;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed % below;
    };
    const pieces = [
      "Bearer",
      "DPoP",
      " ",
      "\t",
      ",",
      "=",
      '"',
      "\\",
      "a",
      "scope",
      'x="y"',
      "abc==",
      "\u00e9",
      "\u0000",
      ";",
      "https://h.example/",
      "__proto__",
    ];
    const sound = 'Bearer resource_metadata="https://h.example/m", scope="a b"';
    for (let run = 0; run < 5000; run++) {
      const noise = Array.from({ length: random(30) }, () => pieces[random(pieces.length)]).join("");
      for (const challenge of parseChallenges(noise)) expect(challenge.scheme).toMatch(/^[a-z0-9!#$%&'*+.^_`|~-]+$/);
      const [first] = parseChallenges(`${sound}, ${noise}`);
      expect(first?.parameters).toMatchObject({ resource_metadata: "https://h.example/m", scope: "a b" });
      parseChallenges(sound.slice(0, random(sound.length)) + noise);
    }
  });

  test.each([
    ["spaces", " "],
    ["commas", ","],
    ["tabs before nothing", "a\t"],
    ["token68 characters", "a "],
    ["equals signs", "="],
    ["quotes", '"'],
    ["backslashes", "\\"],
    ["open strings", 'a="'],
    ["almost token68", "a b==c "],
  ])("a long header of %s takes time in proportion to its length", (_, piece) => {
    const time = (length: number) => {
      const header = `Bearer ${piece.repeat(length)}`;
      const before = performance.now();
      parseChallenges(header);
      return performance.now() - before;
    };
    time(1000);
    // Quadratic work on so much would take minutes.
    expect(time(100_000)).toBeLessThan(5000);
  });
});

test("Amazon API Gateway's name for the header counts where the header itself is missing", () => {
  const renamed = { "x-amzn-remapped-www-authenticate": 'Bearer scope="a"' };
  expect(readChallenge(new Response(null, { status: 401, headers: renamed })).scope).toBe("a");
  const both = { ...renamed, "www-authenticate": 'Bearer scope="b"' };
  expect(readChallenge(new Response(null, { status: 401, headers: both })).scope).toBe("b");
});

describe("REQ-DISC-01 which challenge counts", () => {
  const read = (...headers: string[]) => {
    const response = new Response(null, { status: 401 });
    for (const header of headers) response.headers.append("www-authenticate", header);
    return readChallenge(response);
  };

  test.each<[rule: string, headers: string[], expected: Record<string, string | undefined>]>([
    [
      "Bearer",
      ['Bearer resource_metadata="https://h/m", scope="a", error="e", error_description="d"'],
      { resourceMetadata: "https://h/m", scope: "a", error: "e", errorDescription: "d" },
    ],
    ["Bearer behind other schemes", ['Basic realm="x", scope="no"', 'Bearer scope="yes"'], { scope: "yes" }],
    ["DPoP", ['DPoP resource_metadata="https://h/m"'], { resourceMetadata: "https://h/m" }],
    [
      "the first with resource_metadata",
      ['Bearer error="e"', 'DPoP resource_metadata="https://h/1"', 'Bearer resource_metadata="https://h/2"'],
      { resourceMetadata: "https://h/1", error: undefined },
    ],
    ["else the first with error", ['Bearer realm="x", scope="a"', 'DPoP error="e", scope="b"'], { error: "e", scope: "b" }],
    ["else the first", ['Bearer scope="a"', 'DPoP scope="b"'], { scope: "a" }],
    [
      "of another scheme only resource_metadata counts (RFC 9728 §5.1)",
      ['Acme-Access resource_metadata="https://h/m", scope="no", error="no", max_age="5"'],
      { resourceMetadata: "https://h/m", scope: undefined, error: undefined, maxAge: undefined },
    ],
    [
      "another scheme's resource_metadata beside a Bearer challenge without",
      ['Acme-Access resource_metadata="https://h/m", scope="no"', 'Bearer scope="yes", error="e"'],
      { resourceMetadata: "https://h/m", scope: "yes", error: "e" },
    ],
    [
      "Bearer's resource_metadata wins over another scheme's",
      ['Acme-Access resource_metadata="https://h/1"', 'Bearer resource_metadata="https://h/2"'],
      { resourceMetadata: "https://h/2" },
    ],
    ["empty values count as absent", ['Bearer resource_metadata="", scope=""'], { resourceMetadata: undefined, scope: undefined }],
    [
      "RFC 9470: which authentication, how long ago",
      ['Bearer error="insufficient_user_authentication", acr_values="gold silver", max_age="5"'],
      { error: "insufficient_user_authentication", acrValues: "gold silver", maxAge: "5" },
    ],
    ["a bare max_age of 0", ["DPoP max_age=0"], { acrValues: undefined, maxAge: "0" }],
    ["a max_age that is no number counts as absent", ['Bearer max_age="-1"'], { maxAge: undefined }],
    ["no header", [], { resourceMetadata: undefined, scope: undefined, error: undefined }],
  ])("%s", (_, headers, expected) => {
    expect(read(...headers)).toMatchObject({ status: 401, ...expected });
  });

  test("all challenges of all headers are there", () => {
    expect(read("Negotiate", 'Bearer a="b"').challenges.map(({ scheme }) => scheme)).toEqual(["negotiate", "bearer"]);
  });
});
