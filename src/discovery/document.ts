import { abortable } from "../async.ts";
import type { Clock } from "../clock.ts";
import { isTransient, McpAuthError } from "../errors.ts";
import { faultOf } from "../http/fault.ts";
import type { Http } from "../http/http.ts";
import { members } from "../http/json.ts";
import type { Found } from "./candidates.ts";

/** A JSON object from a well-known URL, not yet validated; empty where the response is not one. */
export interface MetadataDocument {
  /** Where it was found. */
  url: string;
  /** Its members, unchecked. */
  json: Readonly<Record<string, unknown>>;
  /** From `Cache-Control`, in milliseconds. */
  maxAgeMs: number | undefined;
}

export interface DocumentOptions {
  http: Http;
  clock: Clock;
  signal?: AbortSignal | undefined;
  /** A request that is under way already: used as the first try. */
  first?: Promise<MetadataDocument> | undefined;
}

const repeats = 2;
const longestWaitMs = 2000;

/**
 * Gets one document. 5xx, 429 and network failures are repeated twice.
 *
 * @param validate what the document says, checked; throws when it must not be used
 * @throws McpAuthError `discovery_failed` when there is none, the codes of {@link Http} and `server_error`,
 *   `rate_limited` when the repeats fail too; what `validate` throws; `signal.reason`.
 */
export async function fetchDocument<T>(
  /** Where it was found. */
  url: string,
  validate: (document: MetadataDocument) => T,
  { http, clock, signal, first }: DocumentOptions,
): Promise<Found<T>> {
  let withVersion = true;
  for (let attempt = 0; ; attempt++) {
    try {
      const document = await (attempt === 0 && first
        ? abortable(first, signal)
        : requestDocument(url, { http, clock, signal }, withVersion));
      return { value: validate(document), cacheable: true, maxAgeMs: document.maxAgeMs };
    } catch (error) {
      // What has already taken a whole time limit is not worth another one.
      if (attempt === repeats || !isTransient(error) || error.code === "timeout") throw error;
      // In a browser this may be a CORS policy that does not allow the header: without it, at once.
      if (withVersion && error.code === "network_error") withVersion = false;
      else await clock.sleep(Math.min(error.retryAfterMs ?? 250 * 4 ** attempt, longestWaitMs), { signal });
    }
  }
}

/** Sends one request. Servers of 2025-03-26 may respond by revision (REQ-LEG-03). */
export async function requestDocument(
  /** Where it was found. */
  url: string,
  { http, clock, signal }: DocumentOptions,
  withVersion = true,
): Promise<MetadataDocument> {
  const response = await http.fetch(url, {
    headers: { accept: "application/json", ...(withVersion && { "mcp-protocol-version": "2026-07-28" }) },
    signal: signal ?? null,
  });
  const fault = faultOf(response, { detail: url }, clock.now());
  if (fault) throw fault;
  if (!response.ok) throw new McpAuthError("discovery_failed", { detail: url, status: response.status });
  // The content type is not looked at: what parses is judged by what it says.
  return { url, json: members(await response.text()), maxAgeMs: maxAge(response) };
}

function maxAge(response: Response): number | undefined {
  const control = response.headers.get("cache-control") ?? "";
  if (/\bno-(?:store|cache)\b/i.test(control)) return 0;
  const found = /\bmax-age="?(\d+)/i.exec(control);
  return found ? Number(found[1]) * 1000 : undefined;
}
