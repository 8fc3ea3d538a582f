/** What an app may put in the place of our parts, as a program that installed the package sees it. */
import type {
  Challenge,
  Clock,
  Credential,
  CredentialRequest,
  HeldLock,
  LockOptions,
  LoginHandler,
  LoginHandlerRequest,
  LoginSession,
  Store,
  StoredRecord,
} from "mcp-client-auth";
import { authFetch, MemoryStore, systemClock, TokenManager } from "mcp-client-auth";
import { loopbackLogin, pasteLogin } from "mcp-client-auth/node";
import { describe, expectTypeOf, test } from "vitest";

describe("Store", () => {
  class AppStore implements Store {
    readonly #records = new Map<string, StoredRecord>();
    async get(key: string) {
      return this.#records.get(key);
    }
    async set(key: string, value: StoredRecord) {
      this.#records.set(key, value);
    }
    async delete(key: string) {
      this.#records.delete(key);
    }
    async take(key: string) {
      const record = this.#records.get(key);
      this.#records.delete(key);
      return record;
    }
    async keys(prefix: string) {
      return [...this.#records.keys()].filter((key) => key.startsWith(prefix));
    }
    async withLock<T>(_key: string, action: (held: HeldLock) => Promise<T>, { signal }: LockOptions = {}): Promise<T> {
      const held = { set: this.set.bind(this), delete: this.delete.bind(this) };
      return action({ ...held, signal: signal ?? new AbortController().signal });
    }
  }

  test("a class of the app's own is one, and is taken as an option", () => {
    expectTypeOf<AppStore>().toExtend<Store>();
    expectTypeOf<MemoryStore>().toExtend<Store>();
    new TokenManager({ serverUrl: "https://mcp.example/mcp", store: new AppStore() });
  });

  test("one without locks is none", () => {
    expectTypeOf<Omit<AppStore, "withLock">>().not.toExtend<Store>();
    // @ts-expect-error the locks are missing
    new TokenManager({ serverUrl: "https://mcp.example/mcp", store: {} as Omit<AppStore, "withLock"> });
  });

  test("a record has a version, and its fields are unknown until they are checked", () => {
    expectTypeOf<StoredRecord["v"]>().toEqualTypeOf<number>();
    expectTypeOf<StoredRecord["anything"]>().toBeUnknown();
    // @ts-expect-error no version
    new MemoryStore().set("key", { field: 1 });
  });

  test("a lock hands on what its action returns", () => {
    const store = {} as Store;
    expectTypeOf(store.withLock("key", async () => 7)).toEqualTypeOf<Promise<number>>();
    expectTypeOf<Parameters<Parameters<Store["withLock"]>[1]>>().toEqualTypeOf<[HeldLock]>();
  });

  test("options may be undefined, so that they can be passed on", () => {
    expectTypeOf<{ signal: undefined; lockTimeout: undefined }>().toExtend<LockOptions>();
  });
});

describe("Credential", () => {
  test("an object with the two required methods is one, and authorises a `fetch`", () => {
    const apiKey = {
      headers: async () => ({ "x-api-key": "…" }),
      onChallenge: async () => "give-up" as const,
    };
    expectTypeOf(apiKey).toExtend<Credential>();
    expectTypeOf(authFetch(apiKey, "https://mcp.example/mcp")).toEqualTypeOf<typeof fetch>();
    // @ts-expect-error nobody would answer a challenge
    authFetch({ headers: apiKey.headers }, "https://mcp.example/mcp");
  });

  test("a class may learn from answers and send by itself", () => {
    class WithCertificate implements Credential {
      send = globalThis.fetch;
      async headers({ method, url, operation, signal }: CredentialRequest): Promise<Record<string, string>> {
        expectTypeOf(method).toEqualTypeOf<string>();
        expectTypeOf(url).toEqualTypeOf<URL>();
        expectTypeOf(operation).toEqualTypeOf<string | undefined>();
        expectTypeOf(signal).toEqualTypeOf<AbortSignal | undefined>();
        return {};
      }
      async onChallenge(challenge: Challenge, used: Record<string, string>): Promise<"retry" | "give-up"> {
        expectTypeOf(challenge.scope).toEqualTypeOf<string | undefined>();
        expectTypeOf(challenge.status).toEqualTypeOf<number>();
        return used.authorization ? "retry" : "give-up";
      }
      onResponse(response: Response): void {
        response.headers.get("dpop-nonce");
      }
    }
    expectTypeOf<WithCertificate>().toExtend<Credential>();
  });

  test("a challenge is answered by one of two words", () => {
    expectTypeOf<Awaited<ReturnType<Credential["onChallenge"]>>>().toEqualTypeOf<"retry" | "give-up">();
    expectTypeOf<{ headers: Credential["headers"]; onChallenge(): Promise<string> }>().not.toExtend<Credential>();
  });

  test("a token manager is one", () => {
    expectTypeOf<TokenManager>().toExtend<Credential>();
  });
});

describe("LoginHandler", () => {
  test("a class of the app's own is one, and is taken as an option", () => {
    class HostedCallback implements LoginHandler {
      async start({ redirectUris, fixed, signal }: LoginHandlerRequest): Promise<LoginSession> {
        expectTypeOf(redirectUris).toEqualTypeOf<readonly string[] | undefined>();
        expectTypeOf(fixed).toEqualTypeOf<boolean>();
        expectTypeOf(signal).toEqualTypeOf<AbortSignal>();
        const redirectUri = "https://app.example/callback";
        return {
          redirectUri,
          redirectUris: [redirectUri],
          async authorize(url, receive, end) {
            expectTypeOf(url).toEqualTypeOf<URL>();
            expectTypeOf(end).toEqualTypeOf<AbortSignal>();
            await receive(new URLSearchParams());
          },
          async close() {},
        };
      }
    }
    new TokenManager({ serverUrl: "https://mcp.example/mcp", loginHandler: new HostedCallback() });
  });

  test("ours are such handlers", () => {
    expectTypeOf(loopbackLogin).returns.toEqualTypeOf<LoginHandler>();
    expectTypeOf(pasteLogin).returns.toEqualTypeOf<LoginHandler>();
    loopbackLogin({ openBrowser: async (url) => void url.href, print: (line) => void line.length });
  });
});

test("a clock of a test's own is one", () => {
  const clock: Clock = { now: () => 0, sleep: async () => {} };
  expectTypeOf(systemClock).toEqualTypeOf<Clock>();
  new TokenManager({ serverUrl: "https://mcp.example/mcp", clock });
});
