/** The public types, as a program that installed the package sees them. */
import type { Credential, HeldLock, McpAuthErrorCode, Store, StoredRecord } from "mcp-client-auth";
import { type InsufficientScopeError, type LoginRequiredError, McpAuthError } from "mcp-client-auth";
import { describe, expectTypeOf, test } from "vitest";

describe("Store", () => {
  test("a record has a version, and its fields are unknown until they are checked", () => {
    expectTypeOf<StoredRecord["v"]>().toEqualTypeOf<number>();
    expectTypeOf<StoredRecord["anything"]>().toBeUnknown();
  });

  test("a lock hands on what its action returns", () => {
    const store = {} as Store;
    expectTypeOf(store.withLock("key", async () => 7)).toEqualTypeOf<Promise<number>>();
    expectTypeOf<Parameters<Parameters<Store["withLock"]>[1]>>().toEqualTypeOf<[HeldLock]>();
  });

  test("options may be undefined, so that they can be passed on", () => {
    expectTypeOf<{ signal: undefined; waitMs: undefined }>().toExtend<NonNullable<Parameters<Store["withLock"]>[2]>>();
  });
});

describe("Credential", () => {
  test("an object with the two required methods is one", () => {
    expectTypeOf<{ headers(): Promise<{ authorization: string }>; onChallenge(): Promise<"give-up"> }>().toExtend<Credential>();
  });

  test("a challenge is answered by one of two words", () => {
    expectTypeOf<Awaited<ReturnType<Credential["onChallenge"]>>>().toEqualTypeOf<"retry" | "give-up">();
  });
});

describe("McpAuthError", () => {
  test("codes are a closed union", () => {
    expectTypeOf<"login_required">().toExtend<McpAuthErrorCode>();
    expectTypeOf<string>().not.toExtend<McpAuthErrorCode>();
    expectTypeOf<McpAuthError["code"]>().toEqualTypeOf<McpAuthErrorCode>();
    // @ts-expect-error a code that does not exist
    new McpAuthError("no_such_code");
  });

  test("the subclasses are McpAuthErrors and can be told apart", () => {
    expectTypeOf<LoginRequiredError>().toExtend<McpAuthError>();
    expectTypeOf<InsufficientScopeError["requiredScopes"]>().toEqualTypeOf<readonly string[]>();
  });
});
