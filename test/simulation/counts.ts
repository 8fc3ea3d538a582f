/** What happened in the schedules. */
export interface Counts {
  steps: number;
  processes: number;
  crashes: number;
  stops: number;
  /** A process could not run for a while. */
  blocks: number;
  /** Refresh requests that reached the authorization server. */
  "refresh requests": number;
  refreshes: number;
  /** A refresh that another process had done already. */
  "refreshes shared": number;
  "faults of the network": number;
  /** Answers to a successful refresh that nobody received. */
  "answers lost": number;
  /** Answers given again to a repeated request. */
  "answers repeated": number;
  /** Writes that failed. */
  "writes failed": number;
  /** New tokens that could not be stored at first; the app was told. */
  unsaved: number;
  "locks not had in time": number;
  /** Locks of living holders that others got. */
  "leases over": number;
  "clock jumps": number;
  logins: number;
  logouts: number;
  "callers answered": number;
  "callers told why not": number;
  /** The answer was lost on the way. */
  "logins lost with an answer": number;
  /** A process died between the server's processing and its first durable write. */
  "logins lost by a crash": number;
  /** A process ended while its disk was full, and said so. */
  "logins lost by a full disk": number;
  /** A process was paused for longer than the lease, between sending a refresh token and its durable successor. */
  "logins lost by a pause longer than the lease": number;
}

export function counts(): Counts {
  return {
    steps: 0,
    processes: 0,
    crashes: 0,
    stops: 0,
    blocks: 0,
    "refresh requests": 0,
    refreshes: 0,
    "refreshes shared": 0,
    "faults of the network": 0,
    "answers lost": 0,
    "answers repeated": 0,
    "writes failed": 0,
    unsaved: 0,
    "locks not had in time": 0,
    "leases over": 0,
    "clock jumps": 0,
    logins: 0,
    logouts: 0,
    "callers answered": 0,
    "callers told why not": 0,
    "logins lost with an answer": 0,
    "logins lost by a crash": 0,
    "logins lost by a full disk": 0,
    "logins lost by a pause longer than the lease": 0,
  };
}

/** Adds `more` to `sum`. */
export function add(sum: Counts, more: Counts): void {
  for (const name of Object.keys(sum) as (keyof Counts)[]) sum[name] += more[name];
}
