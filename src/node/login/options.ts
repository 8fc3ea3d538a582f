import { callback, having, type Idle, oneOf, port, ports, type Rules, record, text } from "../../options.ts";
import type { LoginPage } from "./loopback/page.ts";

/** The part of the loopback options that decides where responses arrive. */
export interface RedirectOptions {
  /** The port to listen on. Default: any free one. */
  port?: number | undefined;
  /** Ports to listen on, the first free one is taken; when none is, the login fails. */
  ports?: readonly number[] | undefined;
  /** Loopback host of the redirect URI that is sent. Both are served and registered. Default `127.0.0.1`. */
  redirectHost?: "127.0.0.1" | "localhost" | undefined;
  /** Path of the redirect URI. Default `/callback`. */
  callbackPath?: string | undefined;
  /**
   * The redirect URI as the browser sees it, when a proxy or a container's port mapping stands before the listener.
   * `${port}` in it is replaced by the listener's port.
   */
  redirectUri?: string | undefined;
}

/** Options that every login with a listener has. */
export interface ListenerLoginOptions extends RedirectOptions {
  /** The one address to listen on, for containers (`0.0.0.0`). Default: 127.0.0.1 and ::1, reachable from this machine only. */
  bindAddress?: string | undefined;
  /** Replaces the page that the user sees at the end. */
  page?: LoginPage | undefined;
  /** The program's name, for the page. */
  clientName?: string | undefined;
}

/** Options of `loopbackLogin`. */
export interface LoopbackLoginOptions extends ListenerLoginOptions {
  /** Shows the authorization URL to the user. Default: the system's browser. */
  openBrowser?: ((url: URL) => Promise<void>) | undefined;
  /** Receives the line with the address, for the case that no browser appears. Default: stderr. */
  print?: ((line: string) => void) | undefined;
}

/** A readable stream of Node. By its shape: whoever only imports this entry needs no types of Node. */
export interface PasteInput {
  /** Whether a user types there. */
  readonly isTTY?: boolean | undefined;
  /** What has arrived. */
  read(size?: number): unknown;
  /** Nothing arrives from now on. */
  pause(): unknown;
  /** It does again. */
  resume(): unknown;
}

/** Options of `pasteLogin`. */
export interface PasteLoginOptions extends ListenerLoginOptions {
  /** Where the pasted address is read from. Default: stdin, if it is a terminal (else it may carry a protocol). */
  input?: PasteInput | undefined;
  /** Receives what the user must read. Default: stderr. */
  print?: ((text: string) => void) | undefined;
  /** Environment variables, for `SSH_CONNECTION`. Default: `process.env`. */
  env?: Readonly<Record<string, string | undefined>> | undefined;
}

export const loopbackHosts = ["127.0.0.1", "localhost", "[::1]"];
// biome-ignore lint/suspicious/noTemplateCurlyInString: what apps write in the option
export const portMark = "${port}";

export function withPort(template: string, port: number): string {
  return template.replaceAll(portMark, String(port));
}

const listenerRules = (): Rules<ListenerLoginOptions> => ({
  port,
  ports,
  redirectHost: oneOf("127.0.0.1", "localhost"),
  callbackPath: ["an absolute path without query, encoded as in a URL", (value) => typeof value === "string" && isPath(value)],
  redirectUri: ["an https URL, or an http one on loopback", (value) => typeof value === "string" && isRedirectUri(value)],
  bindAddress: text,
  page: callback,
  clientName: text,
});

function isPath(path: string): boolean {
  return path.startsWith("/") && URL.parse(`http://127.0.0.1${path}`)?.pathname === path;
}

function isRedirectUri(template: string): boolean {
  const uri = URL.parse(withPort(template, 1));
  return uri?.protocol === "https:" || (uri?.protocol === "http:" && loopbackHosts.includes(uri.hostname));
}

export const loopbackRules = (): Rules<LoopbackLoginOptions> => ({ ...listenerRules(), openBrowser: callback, print: callback });

export const pasteRules = (): Rules<PasteLoginOptions> => ({
  ...listenerRules(),
  input: having("a readable stream", "read", "pause", "resume"),
  print: callback,
  env: record,
});

/** A redirect URI has a host of its own; without a port to name, one of several is taken. */
export const idleListenerOptions: Idle<Pick<ListenerLoginOptions, "port" | "ports" | "redirectHost" | "redirectUri">> = [
  ["port", "ports"],
  ["redirectHost", "redirectUri"],
];
