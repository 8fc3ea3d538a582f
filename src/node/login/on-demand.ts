import type { LoginHandler } from "../../authorization/login-handler.ts";
import { checkOptions } from "../../options.ts";
import { idleListenerOptions, type LoopbackLoginOptions, loopbackRules, type PasteLoginOptions, pasteRules } from "./options.ts";

/**
 * Login through a browser on this machine (RFC 8252 §7.3): listens on loopback, prints the authorization URL, opens the
 * browser and answers it with a page that tells how the login ended.
 *
 * A browser that cannot be opened ends the login with `browser_failed` only where nobody can see the printed address.
 *
 * @throws McpAuthError `invalid_option`. `start`: `redirect_port_in_use` when none of the ports can be had; `invalid_option`
 *   for an address of this machine that it does not have.
 */
export function loopbackLogin(options: LoopbackLoginOptions = {}): LoginHandler {
  checkOptions(options, loopbackRules(), idleListenerOptions);
  return whenNeeded(async () => (await import("./loopback/loopback-login.ts")).loopbackLogin(options));
}

/**
 * Login through a browser on another machine, for SSH: prints the authorization URL and the `ssh -L` line that brings the
 * browser back to the listener here, and accepts the address at which the browser ended up, pasted into the terminal.
 *
 * @throws McpAuthError as {@link loopbackLogin}
 */
export function pasteLogin(options: PasteLoginOptions = {}): LoginHandler {
  checkOptions(options, pasteRules(), idleListenerOptions);
  return whenNeeded(async () => (await import("./paste.ts")).pasteLogin(options));
}

/** Most processes never log in: what a login needs is loaded when one does. */
function whenNeeded(load: () => Promise<LoginHandler>): LoginHandler {
  return { start: async (request) => (await load()).start(request) };
}
