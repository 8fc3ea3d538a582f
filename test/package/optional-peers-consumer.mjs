/**
 * A user's program with undici, tough-cookie and @napi-rs/keyring, in whichever versions are installed: a line for each of them.
 * `SERVERS` says in JSON where they are needed.
 */
import { SessionCookieCredential } from "mcp-client-auth/credentials";
import { keychainStore, mutualTls } from "mcp-client-auth/node";

const { guarded, certificate, session, login, call } = JSON.parse(process.env.SERVERS);

/** Whom a server takes this program for. `content-type` shows that headers of responses arrive. */
async function whoami(fetch, url) {
  const response = await fetch(url, call);
  const { result } = await response.json();
  return `${JSON.parse(result.content[0].text).sub}, ${response.headers.get("content-type")}`;
}

console.log(`undici: ${await whoami(mutualTls(certificate), guarded)}`);

const auth = new SessionCookieCredential({ serverUrl: session, login });
console.log(`tough-cookie: ${await whoami(auth.fetch, session)}`);

if (process.env.DBUS_SESSION_BUS_ADDRESS) {
  const store = keychainStore({ app: "consumer", fallback: "error", keychainTimeout: 20_000 });
  await store.set("record", { v: 1, text: "kept" });
  const { text } = await store.get("record");
  console.log(`@napi-rs/keyring: ${text}, ${(await store.status()).kind}`);
}
process.exit();
