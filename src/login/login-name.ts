import type { Session } from "./session.ts";

/** Names a login: of whom, at which server. One process at a time logs in under it. */
export async function loginName({ keeper, serverName }: Session): Promise<string> {
  return `${await keeper.account()}/${await serverName()}`;
}
