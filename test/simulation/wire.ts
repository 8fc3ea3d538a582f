import type { Host } from "./host.ts";
import type { World } from "./world.ts";

/** What becomes of one request. */
export type Fate =
  /** It never arrives. */
  | { what: "unsent" }
  /** It is processed; the connection breaks before the answer is there. */
  | { what: "lost" }
  /** It is processed; nothing ever comes back. */
  | { what: "hangs" }
  /** It arrives late; or its answer does. Times in ms. */
  | { what: "slow"; there: number; back: number }
  /** A proxy or the server answers without having looked at it. */
  | { what: "answered"; status: 403 | 429 | 500 | 503; retryAfter?: number }
  /** It is processed, and the answer holds a refresh token, but no access token. */
  | { what: "mangled" };

/** A request as the servers see it. */
export interface Request {
  url: URL;
  method: string;
  body: URLSearchParams;
  bearer: string | undefined;
  authorization: string | undefined;
  /** A body that is no form. */
  text: string | undefined;
}

export interface Reply<A> {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
  /** Something that its receiver is told of. */
  answer?: A;
}

/** The ways between processes and servers. */
export abstract class Wire<P extends Host, A = never> {
  /** What becomes of the next token requests. */
  readonly fates: Fate[] = [];
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** What the servers answer. */
  protected abstract reply(request: Request, process: P, fate: Fate | undefined): Reply<A>;

  protected abstract onSent(request: Request, process: P): void;

  /** Nobody waits for the answer any more. */
  protected onGivenUp(_request: Request): void {}

  /** It is at the machine of the process, which waits for it. */
  protected onArrived(_answer: A, _process: P): void {}

  protected abstract onReceived(answer: A, process: P): void;

  /** A process's `fetch`. */
  fetchFor(process: P): typeof globalThis.fetch {
    return (input, init) =>
      new Promise((resolve, reject) => {
        const { signal } = init ?? {};
        if (signal?.aborted) return reject(signal.reason);
        const request = read(input, init);
        process.requests.add(request);
        signal?.addEventListener("abort", () => {
          if (process.requests.delete(request)) this.onGivenUp(request);
          reject(signal.reason);
        });
        this.onSent(request, process);
        this.#send(request, process, (reply) => {
          if (!process.requests.delete(request)) return;
          if (!reply) return reject(new TypeError("fetch failed"));
          if (reply.answer) this.onReceived(reply.answer, process);
          this.#world.handsOver();
          resolve(response(reply));
        });
      });
  }

  /** @param receive what the process does with the answer, or with a connection that broke */
  #send(request: Request, process: P, receive: (reply?: Reply<A>) => void): void {
    const world = this.#world;
    const { pathname } = request.url;
    const fate = pathname === "/token" ? this.fates.shift() : undefined;
    if (fate) world.counts["faults of the network"]++;
    const breakOff = () => world.step("broken", process, () => receive());
    const deliver = (reply: Reply<A>) => {
      const label = `answer ${reply.status}`;
      world.step(`${process.name}: ${label}`, undefined, () => {
        if (reply.answer && process.alive && process.requests.has(request)) this.onArrived(reply.answer, process);
        process.arrive(label, () => receive(reply));
      });
    };
    const arrive = () => {
      if (!process.alive && process.isCutOff) return;
      const reply = this.reply(request, process, fate);
      if (fate?.what === "lost") breakOff();
      else if (fate?.what === "slow") world.after(fate.back, undefined, () => deliver(reply));
      else if (fate?.what !== "hangs") deliver(reply);
    };
    if (fate?.what === "unsent") breakOff();
    else if (fate?.what === "slow") world.after(fate.there, undefined, () => world.step(`request ${pathname}, late`, undefined, arrive));
    else world.step(`request ${pathname}`, undefined, arrive);
  }
}

function read(input: Parameters<typeof globalThis.fetch>[0], init: RequestInit = {}): Request {
  const authorization = new Headers(init.headers).get("authorization") ?? undefined;
  return {
    url: new URL(String(input)),
    method: init.method ?? "GET",
    body: init.body instanceof URLSearchParams ? init.body : new URLSearchParams(),
    bearer: authorization?.replace("Bearer ", ""),
    authorization,
    text: typeof init.body === "string" ? init.body : undefined,
  };
}

function response({ status, body, headers }: Reply<unknown>): Response {
  return new Response(body === undefined ? null : JSON.stringify(body), { status, headers: headers ?? {} });
}
