import { McpAuthError } from "../../errors.ts";
import { faultOf } from "../../http/fault.ts";
import { members, text } from "../../http/json.ts";
import type { AssertionRequest } from "../assertion.ts";
import { checkedAssertion, unavailable } from "./checked-assertion.ts";

/** Requests the job's ID token from GitHub. */
export async function gitHubActionsAssertion(audience: string | undefined, request: AssertionRequest): Promise<string> {
  const { ACTIONS_ID_TOKEN_REQUEST_URL: address, ACTIONS_ID_TOKEN_REQUEST_TOKEN: token } = process.env;
  if (!address || !token) {
    const missing = address ? "ACTIONS_ID_TOKEN_REQUEST_TOKEN" : "ACTIONS_ID_TOKEN_REQUEST_URL";
    const hint = "Give the job `permissions: id-token: write`; runs for pull requests from forks cannot have it.";
    throw unavailable(`\`${missing}\` is not set`, hint);
  }
  const { http, clock, signal = null, issuer } = request;
  const url = http.checkUrl(address);
  url.searchParams.set("audience", audience ?? issuer);
  const response = await http.fetch(url, { headers: { accept: "application/json", authorization: `Bearer ${token}` }, signal });
  const detail = "GitHub's endpoint for ID tokens";
  if (!response.ok) {
    throw (
      faultOf(response, { detail }, clock.now()) ??
      new McpAuthError("assertion_unavailable", { detail: `${detail} refused the request`, status: response.status })
    );
  }
  return checkedAssertion(text(members(await response.text()).value) ?? "", `the answer of ${detail}`);
}
