import { McpAuthError } from "../../../errors.ts";
import type { LoginOutcome } from "./page.ts";

/** What became of one response. */
export type ResponseOutcome = Pick<LoginOutcome, "kind" | "error">;

/** Where the responses to one authorization request are brought, from the browser or the terminal. */
export interface Responses {
  /** Hands a response to the login and tells how it went. Never rejects. */
  submit(parameters: string): Promise<ResponseOutcome>;
  /** Resolves when a response was good; rejects with the error of one that was ours but bad, or with `end`'s reason. */
  readonly ended: Promise<void>;
  /** Whether it has ended. */
  readonly isOver: boolean;
  /** Gives up. Those who wait for an outcome get `expired`. */
  end(reason: unknown): void;
  /** Gives up as soon as no response is being looked at, unless that one was the right one. */
  endWhenIdle(reason: unknown): void;
}

/** One response at a time; the first that belongs to this login ends it. */
export function collectResponses(receive: (parameters: URLSearchParams) => Promise<void>): Responses {
  let over = false;
  let settle: { resolve: () => void; reject: (reason: unknown) => void };
  const ended = new Promise<void>((resolve, reject) => {
    settle = { resolve, reject };
  });
  ended.catch(() => {});
  let expire: (outcome: ResponseOutcome) => void;
  const expired = new Promise<ResponseOutcome>((resolve) => {
    expire = resolve;
  });

  let idle: Promise<unknown> = Promise.resolve();
  let last: { parameters: string; outcome: Promise<ResponseOutcome> } | undefined;

  const receiveOne = async (parameters: string): Promise<ResponseOutcome> => {
    if (over) return { kind: "finished", error: undefined };
    try {
      await receive(new URLSearchParams(parameters));
      over = true;
      settle.resolve();
      return { kind: "success", error: undefined };
    } catch (reason) {
      const error = reason instanceof McpAuthError ? reason : undefined;
      if (error?.code === "state_mismatch") return { kind: "foreign", error };
      over = true;
      settle.reject(reason);
      if (error?.code === "login_timeout") return { kind: "expired", error };
      return { kind: error?.code === "authorization_denied" ? "denied" : "failed", error };
    }
  };

  const end = (reason: unknown) => {
    if (over) return;
    over = true;
    settle.reject(reason);
    expire({ kind: "expired", error: undefined });
  };

  return {
    ended,
    get isOver() {
      return over;
    },
    submit(parameters) {
      // A page that is loaded again while the code is exchanged gets the same answer.
      if (last?.parameters !== parameters) {
        const received = idle.then(() => receiveOne(parameters));
        const next = { parameters, outcome: Promise.race([received, expired]) };
        // The page of the response that ended the login can be shown again.
        if (over) return next.outcome;
        idle = received;
        last = next;
      }
      return last.outcome;
    },
    end,
    endWhenIdle: (reason) => void idle.then(() => end(reason)),
  };
}
