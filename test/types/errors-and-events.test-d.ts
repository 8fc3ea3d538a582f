/** Errors and events, as a program that installed the package tells them apart. */
import type { AuthEvent, AuthEventListener, McpAuthErrorCode, McpAuthErrorDetails } from "mcp-client-auth";
import { InsufficientScopeError, LoginRequiredError, McpAuthError } from "mcp-client-auth";
import { describe, expectTypeOf, test } from "vitest";

describe("McpAuthError", () => {
  test("codes are a closed union", () => {
    expectTypeOf<"login_required">().toExtend<McpAuthErrorCode>();
    expectTypeOf<string>().not.toExtend<McpAuthErrorCode>();
    expectTypeOf<McpAuthError["code"]>().toEqualTypeOf<McpAuthErrorCode>();
    // @ts-expect-error a code that does not exist
    new McpAuthError("no_such_code");
  });

  test("what an app says for a code must exist, and can be said for all of them", () => {
    const said = { login_required: "Please log in." } satisfies Partial<Record<McpAuthErrorCode, string>>;
    expectTypeOf(said).not.toExtend<Record<McpAuthErrorCode, string>>();
    // @ts-expect-error a code that does not exist
    ({ not_logged_in: "…" }) satisfies Partial<Record<McpAuthErrorCode, string>>;
  });

  test("a switch over the codes ends with those that are left", () => {
    const status = (code: McpAuthErrorCode): 401 | 500 => {
      switch (code) {
        case "login_required":
        case "login_pending":
          return 401;
        default:
          expectTypeOf(code).toEqualTypeOf<Exclude<McpAuthErrorCode, "login_required" | "login_pending">>();
          return 500;
      }
    };
    expectTypeOf(status).returns.toEqualTypeOf<401 | 500>();
  });

  test("tells what to do, whether it passes, and, where known, where it happened", () => {
    expectTypeOf<McpAuthError["hint"]>().toEqualTypeOf<string>();
    expectTypeOf<McpAuthError["transient"]>().toEqualTypeOf<boolean>();
    expectTypeOf<Pick<McpAuthError, "serverUrl" | "issuer" | "serverError" | "serverDescription">>().toEqualTypeOf<
      Readonly<Record<"serverUrl" | "issuer" | "serverError" | "serverDescription", string | undefined>>
    >();
    expectTypeOf<Pick<McpAuthError, "status" | "retryAfterMs">>().toEqualTypeOf<
      Readonly<Record<"status" | "retryAfterMs", number | undefined>>
    >();
    expectTypeOf<McpAuthError["cause"]>().toBeUnknown();
    expectTypeOf<McpAuthErrorDetails["cause"]>().toBeUnknown();
  });

  test("the subclasses are McpAuthErrors and can be told apart", () => {
    const told = (error: unknown): string | readonly string[] | undefined => {
      if (error instanceof InsufficientScopeError) return error.requiredScopes;
      if (error instanceof LoginRequiredError) return error.hint;
      return error instanceof McpAuthError ? error.code : undefined;
    };
    expectTypeOf(told).parameter(0).toBeUnknown();
    expectTypeOf<LoginRequiredError>().toExtend<McpAuthError>();
    expectTypeOf<InsufficientScopeError>().toExtend<McpAuthError>();
    expectTypeOf<InsufficientScopeError["requiredScopes"]>().toEqualTypeOf<readonly string[]>();
  });
});

describe("AuthEvent", () => {
  test("every event says which server it is about", () => {
    expectTypeOf<AuthEvent["serverUrl"]>().toEqualTypeOf<string>();
    expectTypeOf<Parameters<AuthEventListener>>().toEqualTypeOf<[AuthEvent]>();
  });

  test("`type` tells what else there is", () => {
    const listen: AuthEventListener = (event) => {
      if (event.type === "refresh.failed") {
        expectTypeOf(event.code).toEqualTypeOf<McpAuthErrorCode>();
        expectTypeOf(event.transient).toEqualTypeOf<boolean>();
      } else if (event.type === "registration.finished") {
        expectTypeOf(event.kind).toEqualTypeOf<"pre-registered" | "metadata-document" | "dynamic">();
      } else if (event.type === "tokens.saved") {
        expectTypeOf<keyof typeof event>().toEqualTypeOf<"type" | "account" | "serverUrl">();
      }
      // @ts-expect-error not every event has an issuer
      event.issuer;
    };
    expectTypeOf(listen).returns.toEqualTypeOf<void>();
  });

  test("a switch can name every event: adding or removing one shows here", () => {
    const area = (event: AuthEvent): string => {
      switch (event.type) {
        case "discovery.started":
        case "discovery.finished":
        case "discovery.concession":
          return "discovery";
        case "registration.finished":
        case "registration.stale":
        case "registration.foreign-redirect-uris":
          return "registration";
        case "login.started":
        case "login.opened":
        case "login.finished":
        case "login.failed":
        case "login.device-code":
        case "refresh-token.ignored":
        case "credential.refused":
        case "credential.renewed":
        case "step-up.started":
        case "step-up.finished":
        case "step-up.failed":
          return "login";
        case "refresh.started":
        case "refresh.shared":
        case "refresh.repeated":
        case "refresh.finished":
        case "refresh.failed":
          return "refresh";
        case "tokens.unsaved":
        case "tokens.saved":
        case "tokens.given":
        case "tokens.deleted":
        case "logout.finished":
        case "logout.failed":
          return "tokens";
        case "store.opened":
        case "store.set-aside":
        case "store.restarted":
        case "store.on-network":
        case "store.at-risk":
          return "store";
        default:
          expectTypeOf(event).toBeNever();
          return event;
      }
    };
    expectTypeOf(area).returns.toBeString();
  });
});
