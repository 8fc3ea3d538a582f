/** What an answer says of the token that its request carried. */
import { expect, test } from "vitest";
import { McpAuthError } from "../../src/errors.ts";
import { noteResponse } from "../../src/tokens/presented-token.ts";
import { bearerHeaders } from "../../src/transports/bearer.ts";

test.each<[rule: string, status: number, sent: string, isAccepted: boolean, isForgotten: boolean]>([
  ["a success: it was accepted, and what had failed before is over", 200, "now", true, true],
  ["an error of the request: it was accepted, nothing is over", 404, "now", true, false],
  ["a server that fails has not looked at it", 500, "now", false, false],
  ["… nor has one that is not there", 503, "now", false, false],
  ["the last status that says something", 499, "now", true, false],
  ["a success with an older one says nothing of this one", 200, "before", false, false],
])("%s", (_rule, status, sent, isAccepted, isForgotten) => {
  const lastError = new McpAuthError("network_error");
  const session: { lastError: McpAuthError | undefined } = { lastError };
  const token = { bearer: "now", accepted: false };
  noteResponse(session as never, token as never, new Response(null, { status }), bearerHeaders(sent));
  expect([token.accepted, session.lastError]).toEqual([isAccepted, isForgotten ? undefined : lastError]);
});
