import { type AuthEvent, McpAuthError, type StoredRecord } from "../../src/index.ts";
import type { Grant, Login, SimulatedAuthorizationServer } from "./authorization-server.ts";
import { Exposed } from "./exposed.ts";
import type { SimulatedProcess } from "./process.ts";
import type { World } from "./world.ts";

/** A successful refresh, and how far its answer came. */
export interface Answer {
  readonly token: string;
  readonly grant: Grant;
  readonly sender: SimulatedProcess;
  /** At whose machine it has arrived. */
  arrivedAt?: SimulatedProcess;
  receiver?: SimulatedProcess;
  isStored?: boolean;
}

/** What of a token record the judge looks at. */
interface Tokens {
  accessToken?: string;
  refreshToken?: string;
  expiresAt?: number;
  refreshStartedAt?: number;
}

/** Sees everything that happens, and says what must not. */
export class Judge {
  readonly #world: World;
  readonly #issuer: SimulatedAuthorizationServer;
  readonly #answers = new Map<string, Answer[]>();
  /** Access tokens that were durable at some time. */
  readonly #durable = new Set<string>();
  /** Access tokens that could not be stored, and the app was told. */
  readonly #toldAbout = new Set<string>();
  /** Between mark and save, with the key. */
  #marked: { process: SimulatedProcess; key: string } | undefined;
  #stored: Tokens | undefined;
  /** The step that stored it. */
  #storedSince = -1;
  /** Whether the server's URL leads to what is stored. */
  #isFound = false;
  /** Since which step a login is stored that is good for a refresh. */
  #goodSince = Number.POSITIVE_INFINITY;
  readonly #lost = new Set<Login>();
  #windows = 0;

  readonly #exposed = new Exposed();

  /** Whether the sender of a refresh token holds its lock. */
  mayRefresh: (sender: SimulatedProcess) => boolean = () => true;

  /** Logins that a user has replaced by another one. */
  readonly #outdated = new Set<Login>();

  /** Refresh tokens that were refused on their way. */
  readonly #refusedInPassing = new Set<string | undefined>();

  constructor(world: World, issuer: SimulatedAuthorizationServer) {
    this.#world = world;
    this.#issuer = issuer;
  }

  /** The login that a process that starts now would find. */
  get storedLogin(): Login | undefined {
    return this.#issuer.loginOf(this.#stored?.refreshToken) ?? this.#issuer.loginOf(this.#stored?.accessToken);
  }

  /** Whether a login went by the one exception. */
  isLost(login: Login): boolean {
    return this.#lost.has(login);
  }

  /** What is stored at the beginning. */
  begin(record: StoredRecord): void {
    this.#stored = record as Tokens;
    if (this.#stored.accessToken) this.#durable.add(this.#stored.accessToken);
    this.#isFound = true;
    this.#goodSince = -1;
  }

  onRefreshSent(token: string, sender: SimulatedProcess): void {
    if (!this.mayRefresh(sender)) this.#world.fail("sent unlocked", `${sender.name} sends ${token} without holding its lock`);
    for (const { receiver: reader, arrivedAt, grant, isStored } of this.#answers.get(token) ?? []) {
      const receiver = reader ?? arrivedAt;
      if (grant.refreshToken === token || !receiver || this.#exposed.has(token, receiver)) continue;
      // The one exception: what it received went with it. Whoever ends with a full disk says so.
      if (!isStored && (receiver.hasEnded ? receiver.isTold : !receiver.alive)) continue;
      this.#world.fail("sent again", `${sender.name} sends ${token}, ${receiver.name} has received ${grant.refreshToken} for it`);
    }
  }

  onRefreshProcessed(answer: Answer): void {
    this.#answers.set(answer.token, [...(this.#answers.get(answer.token) ?? []), answer]);
    this.#world.counts.refreshes++;
  }

  onArrived(answer: Answer, receiver: SimulatedProcess): void {
    answer.arrivedAt = receiver;
  }

  onReceived(answer: Answer, receiver: SimulatedProcess): void {
    answer.receiver = receiver;
  }

  /**
   * The authorization server has refused a token for good: whose fault was it?
   *
   * @param isAwaited whether anybody still waits for this answer: what came late, from a dead process or after it was repeated,
   *   costs the login of a strict server as a lost answer does
   */
  onRefused(token: string, sender: SimulatedProcess, isAwaited: boolean): void {
    const login = this.#issuer.loginOf(token);
    const answers = this.#answers.get(token) ?? [];
    if (!login || login.loggedOut || this.#lost.has(login) || answers.length === 0 || (!isAwaited && login.alive)) return;
    this.#lost.add(login);
    const stored = isAwaited && answers.some(({ isStored }) => isStored);
    const received = answers.find(({ receiver, arrivedAt }) => receiver ?? arrivedAt);
    const receiver = received?.receiver ?? received?.arrivedAt;
    const { counts } = this.#world;
    if (this.#exposed.has(token, sender, ...answers.map((answer) => answer.sender)))
      counts["logins lost by a pause longer than the lease"]++;
    else if (stored) this.#world.fail("login lost", `${sender.name} sends ${token} although its successor was stored`);
    else if (isAwaited && receiver?.hasEnded && !receiver.isTold) this.#world.fail("login lost", `${receiver.name} ended and told nobody`);
    else if (isAwaited && receiver?.hasEnded) counts["logins lost by a full disk"]++;
    else if (isAwaited && receiver?.alive) this.#world.fail("login lost", `${receiver.name} holds what ${sender.name} wants`);
    else if (receiver || !sender.alive || answers.some((answer) => !answer.sender.alive)) counts["logins lost by a crash"]++;
    else counts["logins lost with an answer"]++;
  }

  /** A process ends by itself. */
  onEnded(process: SimulatedProcess): void {
    for (const { body } of process.requests) {
      if (body.has("refresh_token")) this.#world.fail("login lost", `${process.name} ends while it refreshes`);
    }
  }

  /** A record has become durable. */
  onWritten(writer: SimulatedProcess, key: string, before: StoredRecord | undefined, after: StoredRecord | undefined): void {
    if (key.startsWith("index/")) this.#isFound = after !== undefined;
    if (key.startsWith("tokens/")) this.#onTokens(writer, key, before, after);
    if (!this.#isFound || !this.#issuer.acceptsRefresh(this.#stored?.refreshToken)) this.#goodSince = Number.POSITIVE_INFINITY;
    else if (this.#goodSince === Number.POSITIVE_INFINITY) this.#goodSince = this.#world.steps;
  }

  #onTokens(writer: SimulatedProcess, key: string, before: StoredRecord | undefined, after: StoredRecord | undefined): void {
    const [old, next] = [before, after] as [Tokens | undefined, Tokens | undefined];
    this.#onTurn(writer, key, next?.refreshStartedAt !== undefined);
    this.#stored = next;
    this.#storedSince = this.#world.steps;
    if (next?.accessToken) this.#durable.add(next.accessToken);
    for (const answers of this.#answers.values()) {
      for (const answer of answers) if (answer.grant.refreshToken === next?.refreshToken) answer.isStored = true;
    }
    const login = this.#issuer.loginOf(next?.refreshToken);
    if (!next && writer.hasLoggedOut) {
      const ended = this.#issuer.loginOf(old?.refreshToken);
      if (ended) ended.loggedOut = true;
    }
    if (login?.loggedOut && this.#issuer.loginOf(old?.refreshToken) !== login) {
      this.#world.fail("logged out in vain", `${writer.name} stores ${next?.refreshToken} again`);
    }
    if (old) this.#onReplaced(writer, old, next);
  }

  #onTurn(writer: SimulatedProcess, key: string, begins: boolean): void {
    const other = this.#marked?.process;
    if (begins && other && other !== writer) this.#world.fail("two at once", `${writer.name} begins before ${other.name} has finished`);
    if (begins) this.#marked = { process: writer, key };
    else if (other === writer) this.#marked = undefined;
  }

  /** A user has logged in anew. Where the disk is full, what is stored is not yet what counts. */
  #onReplacedByUser(): void {
    const login = this.#issuer.loginOf(this.#stored?.refreshToken);
    if (login && login !== this.#issuer.newestLogin) this.#outdated.add(login);
  }

  #onReplaced(writer: SimulatedProcess, old: Tokens, next: Tokens | undefined): void {
    if (!next && writer.hasLoggedOut) return;
    const issuer = this.#issuer;
    const isRefreshable = issuer.acceptsRefresh(next?.refreshToken);
    const former = issuer.loginOf(old.refreshToken);
    if (former && this.#outdated.has(former) && issuer.loginOf(next?.refreshToken) !== former) return;
    if (old.refreshToken !== next?.refreshToken && issuer.acceptsRefresh(old.refreshToken) && !isRefreshable) {
      this.#world.fail("thrown away", `${writer.name} deletes ${old.refreshToken}, which is valid`);
    }
    // A login that a user has made replaces the one before, whatever that is worth.
    if (isRefreshable && issuer.loginOf(next?.refreshToken) !== issuer.loginOf(old.refreshToken)) return;
    const isUsable = issuer.acceptsAccess(old.accessToken) && !(old.expiresAt !== undefined && old.expiresAt <= writer.now());
    const wasRefused = writer.wasRefused.has(old.accessToken ?? "");
    if (old.accessToken !== next?.accessToken && isUsable && !wasRefused && !issuer.acceptsAccess(next?.accessToken)) {
      this.#world.fail("thrown away", `${writer.name} deletes ${old.accessToken}, which is valid`);
    }
  }

  /** A living holder was paused past its lease. @param why it could not renew it; nothing: it could have */
  onTakenOver(holder: SimulatedProcess, key: string, why: string | undefined): void {
    this.#world.counts["leases over"]++;
    if (!why) this.#world.fail("two at once", `${holder.name} has not renewed its lease of ${key}, and nothing kept it from that`);
    if (key.startsWith("login/")) {
      // Its user may see two windows: nothing is lost by that.
      holder.closeWindow();
      holder.loginSince = Number.NEGATIVE_INFINITY;
    }
    const isAnswered = (token: string) =>
      (this.#answers.get(token) ?? []).some(({ receiver, isStored }) => receiver === holder && !isStored);
    this.#exposed.onTakenOver(holder, this.#stored?.refreshToken, isAnswered);
  }

  onReleased(holder: SimulatedProcess, key: string): void {
    if (this.#marked?.process === holder && key === `refresh/${this.#marked.key}`) this.#marked = undefined;
  }

  /** The authorization server has ended a login at an app's wish. */
  onRevoked(token: string, by: SimulatedProcess): void {
    const login = this.#issuer.loginOf(token);
    if (login && by.logouts > 0) login.loggedOut = true;
  }

  /** A caller or the protected server gets a token. */
  onHandedOut(token: string, by: SimulatedProcess): void {
    if (by.isTold) this.#toldAbout.add(token);
    if (this.#durable.has(token) || this.#toldAbout.has(token)) return;
    this.#world.fail("handed out unsaved", `${by.name} hands out ${token}, which is not stored`);
  }

  /** A caller who has waited `since` then is told why there is no answer. */
  onError(error: unknown, by: SimulatedProcess, since: { step: number; time: number }, what: string): void {
    this.#world.counts["callers told why not"]++;
    if (!(error instanceof McpAuthError)) this.#world.fail("untyped error", `${by.name}: ${String(error)}`);
    // A call may be refused by the protected server for reasons of its own; what lives shorter than its refresh takes is no use.
    const tookLong = this.#world.now - since.time >= this.#issuer.rules.lifetime * 1000;
    // A token that the server has refused, though not for good, is left alone for a while where there is no user.
    const isLeftAlone = error instanceof McpAuthError && this.#refusedInPassing.has(this.#stored?.refreshToken) && isPassing(error.cause);
    const isToldToLogIn = error instanceof McpAuthError && error.code === "login_required" && !isLeftAlone;
    if (what !== "token" || tookLong || by.hasLoggedOut || !isToldToLogIn) return;
    if (this.#goodSince < since.step && this.#issuer.acceptsRefresh(this.#stored?.refreshToken)) {
      this.#world.fail("needless login", `${by.name} wants a login although ${this.#stored?.refreshToken} is stored`);
    }
  }

  /** A firewall has refused this refresh token, and not the server. */
  onRefusedInPassing(token: string | null): void {
    this.#refusedInPassing.add(token ?? undefined);
  }

  onEvent(event: AuthEvent, by: SimulatedProcess): void {
    const { counts } = this.#world;
    if (event.type === "tokens.unsaved") this.#onTold(by);
    if (event.type === "refresh.shared") counts["refreshes shared"]++;
    if (event.type === "login.finished") {
      counts.logins++;
      this.#onReplacedByUser();
    }
    if (event.type === "refresh.failed") by.hasFailedToRefresh = true;
    if (event.type === "refresh.finished") by.hasFailedToRefresh = false;
    if (event.type === "logout.finished") counts.logouts++;
    if (event.type === "tokens.unsaved" || event.type === "tokens.saved") by.isTold = event.type === "tokens.unsaved";
  }

  /** The schedule is over. */
  finish(): void {
    for (const answers of this.#answers.values()) {
      this.#world.counts["answers lost"] += answers.filter(({ receiver }) => !receiver).length;
    }
  }

  #onTold(process: SimulatedProcess): void {
    this.#world.counts.unsaved++;
    for (const { receiver, grant } of [...this.#answers.values()].flat()) if (receiver === process) this.#toldAbout.add(grant.accessToken);
  }

  onWindowOpened(process: SimulatedProcess): void {
    if (++this.#windows > 1) this.#world.fail("two windows", "a second browser window opens");
    const { accessToken, expiresAt } = this.#stored ?? {};
    const isGood = this.#issuer.acceptsAccess(accessToken) && !process.wasRefused.has(accessToken ?? "");
    if (this.#storedSince < process.loginSince && isGood && !(expiresAt !== undefined && expiresAt <= process.now())) {
      this.#world.fail("needless window", `${process.name} asks a user although ${accessToken} is stored`);
    }
    this.#onUnrefused(process);
  }

  /** A refresh token that nobody has refused, unless this process has tried what it brings. */
  #onUnrefused(process: SimulatedProcess): void {
    const { refreshToken, accessToken } = this.#stored ?? {};
    const isOwn = [...this.#answers.values()]
      .flat()
      .some(({ grant, receiver }) => grant.accessToken === accessToken && receiver === process);
    const isGood = this.#isFound && this.#goodSince < process.loginSince && this.#issuer.acceptsRefresh(refreshToken);
    // Where refreshing has failed for long, or the app has just logged in, something else than another refresh is needed.
    if (!isGood || isOwn || process.hasFailedToRefresh || process.hasLoggedOut) return;
    this.#world.fail("window too many", `${process.name} asks a user although nobody has refused ${refreshToken}`);
  }

  onWindowClosed(): void {
    this.#windows--;
  }
}

/** Whether a refusal says nothing for good about the refresh token. */
function isPassing(error: unknown): boolean {
  return error instanceof McpAuthError && error.code === "token_request_refused";
}
