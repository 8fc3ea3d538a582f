/**
 * An authorization server of thousands of logins, in a process of its own: it rotates refresh tokens, and ends the login of
 * which one is used twice. By IPC its parent tells it how to behave, and asks for a `"report"`.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** How it behaves. */
export interface StrictServerSettings {
  /** What it takes for a token request, in ms. */
  latencyMs?: number;
  /** So many token requests at once are let in; the others get 503. */
  most?: number;
}

/** What it has seen. */
export interface StrictServerReport {
  tokenRequests: number;
  /** Logins that were ended because a refresh token was used twice. */
  lost: number;
  mostAtOnce: number;
  refused: number;
}

/** The first tokens of a login; the access token has expired. */
export const firstTokens = (login: string) => ({ accessToken: `access.${login}.0`, refreshToken: `refresh.${login}.0` });

if (import.meta.main) {
  const used = new Map<string, number>();
  let settings: StrictServerSettings = {};
  let report: StrictServerReport = { tokenRequests: 0, lost: 0, mostAtOnce: 0, refused: 0 };
  const ended = new Set<string>();
  let inFlight = 0;

  const refresh = (body: string): [status: number, answer: object] => {
    const [, login = "", number = ""] = (new URLSearchParams(body).get("refresh_token") ?? "").split(".");
    const next = used.get(login) ?? 0;
    if (Number(number) !== next && !ended.has(login)) {
      ended.add(login);
      report.lost++;
    }
    if (ended.has(login)) return [400, { error: "invalid_grant" }];
    used.set(login, next + 1);
    const tokens = { access_token: `access.${login}.${next + 1}`, refresh_token: `refresh.${login}.${next + 1}` };
    return [200, { ...tokens, token_type: "Bearer", expires_in: 3600 }];
  };

  const server = createServer((request, response) => {
    const answer = (status: number, body: object, headers = {}) => {
      response.writeHead(status, { "content-type": "application/json", ...headers });
      response.end(JSON.stringify(body));
    };
    const origin = `http://${request.headers.host}`;
    if (request.method === "GET") {
      const found = request.url === "/.well-known/oauth-authorization-server";
      return answer(found ? 200 : 404, {
        issuer: origin,
        authorization_endpoint: `${origin}/authorize`,
        token_endpoint: `${origin}/token`,
        response_types_supported: ["code"],
        code_challenge_methods_supported: ["S256"],
        token_endpoint_auth_methods_supported: ["none"],
      });
    }
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (part: string) => {
      body += part;
    });
    request.on("end", () => {
      const { latencyMs = 0, most = Infinity } = settings;
      if (inFlight >= most) {
        report.refused++;
        return answer(503, { error: "temporarily_unavailable" });
      }
      inFlight++;
      report.mostAtOnce = Math.max(report.mostAtOnce, inFlight);
      report.tokenRequests++;
      const [status, tokens] = refresh(body);
      const done = () => {
        inFlight--;
        answer(status, tokens);
      };
      if (latencyMs > 0) setTimeout(done, latencyMs);
      else done();
    });
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, "127.0.0.1", () => process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }));
  process.on("message", (message: StrictServerSettings | "report") => {
    if (message !== "report") {
      settings = message;
      report = { tokenRequests: 0, lost: 0, mostAtOnce: 0, refused: 0 };
    }
    process.send?.(report);
  });
  process.on("disconnect", () => process.exit());
}
