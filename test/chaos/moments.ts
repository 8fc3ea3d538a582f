/** The moments at which a process is killed. */
import { closeBefore, gate, type Matcher, type ProtectedServer, pathEnds, tokenRequest } from "../fixture/index.ts";
import type { Child } from "../processes/child.ts";
import type { ProgramNews } from "../processes/program.ts";
import type { Random } from "../processes/random.ts";

/** Where it happens. */
export interface Scene {
  server: ProtectedServer;
  children: readonly Child[];
  random: Random;
}

/** One moment: prepared before the processes begin to work, then waited for. */
export interface Moment {
  name: string;
  prepare(scene: Scene): {
    /** The process to be killed, when it is to be killed. */
    victim: Promise<Child>;
    /** What held the process up is taken away, once it is dead. */
    release(): void;
  };
}

/** Who is about to log in or to refresh says so before it sends anything. */
export const refreshMoments: readonly Moment[] = [
  whenTold("it begins to refresh", isEvent("refresh.started")),
  whenHeld("its refresh is under way", tokenRequest("refresh_token"), "before", "refresh.started"),
  whenHeld("the server has processed its refresh", tokenRequest("refresh_token"), "after", "refresh.started"),
  whenAnswered("within 6 ms of the refresh's answer", tokenRequest("refresh_token"), "refresh.started", 6),
  whenTold("the refresh is stored", isEvent("refresh.finished")),
  atAnyTime(150),
];

export const loginMoments: readonly Moment[] = [
  whenHeld("its registration is under way", pathEnds("/register"), "before", "login.started"),
  whenHeld("the server has registered it", pathEnds("/register"), "after", "login.started"),
  whenAnswered("within 10 ms of the registration's answer", pathEnds("/register"), "login.started", 10),
  whenTold("its window opens", ({ news }) => news === "browser"),
  whenHeld("its code is under way", tokenRequest("authorization_code"), "before", "login.started"),
  whenHeld("the server has exchanged its code", tokenRequest("authorization_code"), "after", "login.started"),
  whenAnswered("within 10 ms of the tokens' arrival", tokenRequest("authorization_code"), "login.started", 10),
  whenTold("the login is finished", isEvent("login.finished")),
  atAnyTime(300),
];

export const writeMoments: readonly Moment[] = [
  whenToldOften("it begins a write", "writing", 40),
  whenToldOften("a write is done", "written", 40),
  atAnyTime(60),
];

export const lockMoments: readonly Moment[] = [
  whenToldOften("it holds the lock", "inside", 40),
  whenToldOften("it has written under the lock", "counted", 40),
  atAnyTime(60),
];

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function isEvent(type: string): (news: ProgramNews) => boolean {
  return (news) => news.news === "event" && news.type === type;
}

/** Who tells this as the `nth` piece of its kind, of all processes. */
function teller({ children }: Scene, matches: (news: ProgramNews) => boolean, nth = 1): Promise<Child> {
  return new Promise((resolve) => {
    let count = 0;
    for (const child of children)
      child.listen((news) => {
        if (matches(news) && ++count === nth) resolve(child);
      });
  });
}

function whenTold(name: string, matches: (news: ProgramNews) => boolean): Moment {
  return { name, prepare: (scene) => ({ victim: teller(scene, matches), release: () => {} }) };
}

/** Some microseconds later, too: writing takes less than a millisecond. */
function whenToldOften(name: string, news: ProgramNews["news"], most: number): Moment {
  return {
    name,
    prepare(scene) {
      const nth = 1 + Math.floor(scene.random.below(most));
      const spinMs = scene.random.below(2);
      const victim = teller(scene, (piece) => piece.news === news, nth).then((child) => {
        for (const start = performance.now(); performance.now() - start < spinMs; );
        return child;
      });
      return { victim, release: () => {} };
    },
  };
}

/** While the server holds its request, which then nobody processes, or the answer to it, which then reaches nobody. */
function whenHeld(name: string, matches: Matcher, point: "before" | "after", event: string): Moment {
  return {
    name,
    prepare(scene) {
      const { authorizationServer: as } = scene.server;
      const held = gate(matches, point);
      as.intercept(held.hook);
      let isDropped = point === "after";
      as.intercept((request, response) => {
        if (isDropped || !matches(request)) return false;
        isDropped = true;
        return closeBefore(request, response);
      });
      const victim = Promise.all([teller(scene, isEvent(event)), held.reached(1)]).then(([child]) => child);
      return { victim, release: () => held.open() };
    },
  };
}

/** A moment after the server's answer was sent: it may be on its way, read, or stored. */
function whenAnswered(name: string, matches: Matcher, event: string, spreadMs: number): Moment {
  return {
    name,
    prepare(scene) {
      const held = gate(matches, "after");
      scene.server.authorizationServer.intercept(held.hook);
      const delayMs = scene.random.below(spreadMs);
      const victim = Promise.all([teller(scene, isEvent(event)), held.reached(1)]).then(async ([child]) => {
        held.open();
        await pause(delayMs);
        return child;
      });
      return { victim, release: () => {} };
    },
  };
}

function atAnyTime(withinMs: number): Moment {
  return {
    name: "at any time",
    prepare: ({ random, children }) => {
      const [child, afterMs] = [random.pick(children), random.below(withinMs)];
      return { victim: pause(afterMs).then(() => child), release: () => {} };
    },
  };
}
