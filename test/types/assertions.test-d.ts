/** Assertions: what gives them fits what takes them, and options that cannot work are noticed while typing. */
import {
  type ExchangedToken,
  exchangeToken,
  type machineAuthentication,
  type TokenExchange,
  type tokenTypes,
} from "mcp-client-auth/grants";
import {
  type AssertionSource,
  assertionCommand,
  assertionFile,
  type EnterpriseManagedOptions,
  enterpriseManaged,
  gitHubActions,
  gitLab,
  kubernetes,
  type MachineTokenManagerOptions,
} from "mcp-client-auth/machine";
import { describe, expectTypeOf, test } from "vitest";

describe("sources", () => {
  test("each is what the manager takes", () => {
    for (const source of [gitHubActions, gitLab, kubernetes, assertionFile, assertionCommand, enterpriseManaged]) {
      expectTypeOf(source).returns.toEqualTypeOf<AssertionSource>();
    }
    expectTypeOf<AssertionSource>().toExtend<NonNullable<MachineTokenManagerOptions["assertion"]>>();
  });

  test("so is any function of the app's own", () => {
    expectTypeOf<() => string>().toExtend<AssertionSource>();
    expectTypeOf<(request: { issuer: string; tokenEndpoint: string }) => Promise<string>>().toExtend<AssertionSource>();
    expectTypeOf<() => number>().not.toExtend<AssertionSource>();
  });

  test("a command is a program and its arguments, not a line for a shell", () => {
    expectTypeOf(assertionCommand).parameter(0).toEqualTypeOf<readonly [file: string, ...args: string[]]>();
    expectTypeOf<string>().not.toExtend<Parameters<typeof assertionCommand>[0]>();
    expectTypeOf<[]>().not.toExtend<Parameters<typeof assertionCommand>[0]>();
  });

  test("a sign-on needs the client that it was made with", () => {
    expectTypeOf<{ clientId: string; subjectToken: string }>().toExtend<EnterpriseManagedOptions>();
    expectTypeOf<{ subjectToken: string }>().not.toExtend<EnterpriseManagedOptions>();
    expectTypeOf<EnterpriseManagedOptions["subjectTokenType"]>().toEqualTypeOf<"id_token" | "refresh_token" | undefined>();
  });
});

describe("token exchange", () => {
  test("takes what authenticates a program, and any kind of token", () => {
    expectTypeOf<ReturnType<typeof machineAuthentication>>().toExtend<NonNullable<TokenExchange["authentication"]>>();
    expectTypeOf<(typeof tokenTypes)[keyof typeof tokenTypes]>().toExtend<TokenExchange["subjectTokenType"]>();
    expectTypeOf<TokenExchange["subjectTokenType"]>().toEqualTypeOf<string>();
  });

  test("gives a token, always", () => {
    expectTypeOf(exchangeToken).returns.resolves.toEqualTypeOf<ExchangedToken>();
    expectTypeOf<ExchangedToken["token"]>().toEqualTypeOf<string>();
    expectTypeOf<ExchangedToken["issuedTokenType"]>().toEqualTypeOf<string>();
  });
});
