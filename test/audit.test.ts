/** An audit trail: which events make a line, what stands in it, and that nothing can break it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type AuditRecord, type AuthEvent, type AuthEventFacts, auditTrail, MemoryStore } from "../src/index.ts";
import { answer, tokenRequest, when } from "./fixture/index.ts";
import { failure, manager, minutes, post, seed, shiftedClock, startServer, userAtHand } from "./storm/support.ts";

const serverUrl = "https://mcp.example/mcp";
const issuer = "https://as.example";
const scopes = ["read"];
const at = Date.UTC(2026, 10, 28, 12);
const clock = { now: () => at, sleep: async () => {} };

/** What a trail writes about some events. */
function trail(events: readonly AuthEvent[], options: { account?: string } = {}): { lines: string[]; records: AuditRecord[] } {
  const [lines, records]: [string[], AuditRecord[]] = [[], []];
  const listener = auditTrail({
    ...options,
    clock,
    write(line, record) {
      lines.push(line);
      records.push(record);
    },
  });
  for (const event of events) listener(event);
  return { lines, records };
}

type Rest<Event> = Event extends unknown ? Omit<Event, "type"> : never;
type Facts<Type extends AuthEvent["type"]> = Rest<Extract<AuthEventFacts, { type: Type }>>;
type Case<Type extends AuthEvent["type"]> = readonly [facts: Facts<Type>, line: Partial<AuditRecord> | undefined];

/** Of every event: what it says, and the line about it, if there is one. */
const cases: { readonly [Type in AuthEvent["type"]]: readonly [Case<Type>, ...Case<Type>[]] } = {
  "discovery.started": [[{}, undefined]],
  "discovery.finished": [[{ resource: serverUrl, issuer, legacy: false }, undefined]],
  "discovery.concession": [[{ concession: "profile", issuer, detail: "Slack" }, undefined]],
  "registration.finished": [[{ issuer, kind: "dynamic", clientId: "c" }, undefined]],
  "registration.stale": [[{ issuer, reason: "refused" }, undefined]],
  "registration.foreign-redirect-uris": [[{ issuer }, undefined]],
  "login.started": [
    [
      { issuer, scopes },
      { action: "login", outcome: "started", issuer, scopes },
    ],
  ],
  "login.opened": [[{ issuer, redirectUri: "http://127.0.0.1:1/callback" }, undefined]],
  "login.device-code": [[{ issuer, verificationUri: `${issuer}/device` }, undefined]],
  "login.finished": [
    [
      { issuer, scopes },
      { action: "login", outcome: "ok", issuer, scopes },
    ],
  ],
  "login.failed": [
    [{ code: "authorization_denied" }, { action: "login", outcome: "refused", code: "authorization_denied" }],
    [{ code: "registration_refused" }, { action: "login", outcome: "refused", code: "registration_refused" }],
    [{ code: "login_timeout" }, { action: "login", outcome: "failed", code: "login_timeout" }],
  ],
  "refresh.started": [[{ issuer, reason: "expired" }, undefined]],
  "refresh.shared": [[{ issuer }, undefined]],
  "refresh.repeated": [[{ issuer, attempt: 1, waitMs: 10, code: "server_error" }, undefined]],
  "refresh.finished": [
    [
      { issuer, rotated: true },
      { action: "refresh", outcome: "ok", issuer },
    ],
  ],
  "refresh.failed": [
    [
      { issuer, code: "invalid_grant", transient: false },
      { action: "refresh", outcome: "refused", issuer, code: "invalid_grant" },
    ],
    [
      { issuer, code: "server_error", transient: true },
      { action: "refresh", outcome: "failed", issuer, code: "server_error" },
    ],
  ],
  "tokens.unsaved": [[{ code: "store_failed" }, undefined]],
  "tokens.saved": [[{}, undefined]],
  "tokens.given": [
    [
      { issuer, scopes },
      { action: "login", outcome: "ok", issuer, scopes, reason: "given" },
    ],
  ],
  "tokens.deleted": [
    [{ reason: "refused" }, { action: "refusal", outcome: "refused", reason: "refused" }],
    [{ reason: "client-refused" }, { action: "refusal", outcome: "refused", reason: "client-refused" }],
    [{ reason: "logout" }, undefined],
  ],
  "refresh-token.ignored": [[{ issuer }, undefined]],
  "credential.refused": [[{ left: 1 }, { action: "refusal", outcome: "refused" }]],
  "credential.renewed": [
    [{ kind: "session" }, { action: "login", outcome: "ok", reason: "session" }],
    [{ kind: "key" }, { action: "key-rotation", outcome: "ok", reason: "key" }],
    [{ kind: "token" }, { action: "key-rotation", outcome: "ok", reason: "token" }],
    [{ kind: "secret" }, { action: "key-rotation", outcome: "ok", reason: "secret" }],
  ],
  "step-up.started": [
    [
      { scopes, attempt: 1 },
      { action: "step-up", outcome: "started", scopes },
    ],
  ],
  "step-up.finished": [[{ scopes }, { action: "step-up", outcome: "ok", scopes }]],
  "step-up.failed": [
    [
      { scopes, code: "insufficient_scope" },
      { action: "step-up", outcome: "refused", scopes, code: "insufficient_scope" },
    ],
    [
      { scopes, code: "login_timeout" },
      { action: "step-up", outcome: "failed", scopes, code: "login_timeout" },
    ],
  ],
  "logout.finished": [
    [
      { account: "ann", revoked: true },
      { action: "logout", outcome: "ok", account: "ann", revoked: true },
    ],
  ],
  "logout.failed": [
    [
      { account: "ann", code: "store_failed" },
      { action: "logout", outcome: "failed", account: "ann", code: "store_failed" },
    ],
  ],
  "store.opened": [[{ kind: "sqlite", key: "file", path: "/data", app: { name: "acme", from: "option" } }, undefined]],
  "store.set-aside": [[{ path: "/data", reason: "damaged" }, undefined]],
  "store.restarted": [[{ path: "/data" }, undefined]],
  "store.on-network": [[{ path: "/data", fileSystem: "nfs" }, undefined]],
  "store.at-risk": [[{ reason: "evicts" }, undefined]],
};
const rows = Object.entries(cases).flatMap(([type, them]) =>
  them.map(([facts, line]): [title: string, AuthEvent, Partial<AuditRecord> | undefined] => [
    `${type} ${JSON.stringify(facts)}`,
    { type, serverUrl, ...facts } as AuthEvent,
    line,
  ]),
);

describe("which events make a line", () => {
  test.each(rows)("%s", (_title, event, line) => {
    const whole = { time: "2026-11-28T12:00:00.000Z", account: null, server: serverUrl, event: event.type };
    expect(trail([event]).records).toEqual(line ? [{ ...whole, ...line }] : []);
  });

  test("none is forgotten", async () => {
    const source = await readFile(join(import.meta.dirname, "../src/events.ts"), "utf8");
    const types = new Set([...source.matchAll(/type: "([a-z.-]+)"/g)].map(([, type]) => type));
    expect([...types].sort()).toEqual(Object.keys(cases).sort());
  });
});

describe("a line", () => {
  const finished: AuthEvent = { type: "login.finished", serverUrl, issuer, scopes };

  test("is JSON, and the record beside it says the same", () => {
    const { lines, records } = trail([finished], { account: "ann" });
    expect(lines).toEqual([
      `{"time":"2026-11-28T12:00:00.000Z","account":"ann","server":"${serverUrl}","issuer":"${issuer}",` +
        `"action":"login","outcome":"ok","scopes":["read"],"event":"login.finished"}`,
    ]);
    expect(records).toEqual(lines.map((line) => JSON.parse(line)));
  });

  test.each<[rule: string, event: AuthEvent, options: { account?: string }, account: string | null]>([
    ["the event's account comes first", { type: "logout.finished", serverUrl, account: "ben", revoked: true }, { account: "ann" }, "ben"],
    ["then the option's", finished, { account: "ann" }, "ann"],
    ["neither: null", finished, {}, null],
  ])("%s", (_rule, event, options, account) => {
    expect(trail([event], options).records).toMatchObject([{ account }]);
  });

  test("holds no query: it may be secret", () => {
    const { lines } = trail([{ ...finished, serverUrl: `${serverUrl}?key=hush#hush`, issuer: `${issuer}/?key=hush` }]);
    expect(lines.join()).not.toMatch(/hush|\?|#/);
  });

  test("is one line of bounded length, whatever a server says", () => {
    const unsafe = fc.string({
      unit: fc.constantFrom("a", "é", "\n", "\r", "\0", "\u0085", "\u2028", "\u2029", "\u202e", "\u{e0001}", "😀", '"'),
    });
    fc.assert(
      fc.property(unsafe, unsafe, fc.array(unsafe), (account, server, granted) => {
        const { lines } = trail([{ type: "login.finished", serverUrl, issuer: `${issuer}/${server}`, scopes: granted }], {
          account: `u${account}`,
        });
        expect(lines).toHaveLength(1);
        expect(lines[0]).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        expect(JSON.parse(lines[0] ?? "")).toMatchObject({ account: `u${account}`.slice(0, 300), scopes: granted.slice(0, 50) });
      }),
    );
    const endless = "x".repeat(1_000_000);
    const { lines } = trail([{ type: "login.finished", serverUrl, issuer: endless, scopes: Array(100_000).fill(endless) }], {
      account: endless,
    });
    expect(lines[0]?.length).toBeLessThan(20_000);
  });
});

test("a login's life at a real server: who, what, how it ended, and no secret", async () => {
  const server = await startServer();
  const { authorizationServer: as } = server;
  const now = shiftedClock();
  const lines: string[] = [];
  const seen: string[] = [];
  const audit = auditTrail({ account: "ann", write: (line) => lines.push(line) });
  const { auth } = manager(server, {
    clock: now,
    account: "ann",
    loginHandler: userAtHand(),
    onEvent(event) {
      audit(event);
      seen.push(event.type);
    },
  });
  await auth.authorize();
  const token = await auth.getAccessToken();
  now.shift(minutes(61));
  await auth.getAccessToken();
  as.nextDecision = "deny";
  await failure(post(auth, "write_note", { text: "x" }));
  now.shift(minutes(61));
  const stop = as.intercept(when(tokenRequest("refresh_token"), answer(503, {})));
  await failure(auth.getAccessToken());
  stop();
  await auth.logout();

  const records = lines.map((line) => JSON.parse(line) as AuditRecord);
  expect(records.map(({ action, outcome, code }) => [action, outcome, code].filter(Boolean).join(" "))).toEqual([
    "login started",
    "login ok",
    "refresh ok",
    "step-up started",
    "login started",
    "login refused authorization_denied",
    "step-up refused authorization_denied",
    "refresh failed server_error",
    "logout ok",
  ]);
  expect(new Set(records.map(({ account, server }) => `${account} ${server}`))).toEqual(new Set([`ann ${server.url}`]));
  expect(seen.length).toBeGreaterThan(records.length);
  expect(lines.join()).not.toContain(token);
});

test("a trail that cannot be written breaks no login", async () => {
  const server = await startServer();
  const store = new MemoryStore();
  await seed(server, store);
  const audit = auditTrail({
    write() {
      throw new Error("disk full");
    },
  });
  const { auth } = manager(server, { store, onEvent: audit });
  server.mcpServer.revokeAll();
  expect(await post(auth)).toBe(200);
  expect(await auth.logout()).toMatchObject({ refreshTokenRevoked: true });
});
