import { type LoginOptions, loginRules } from "../../login/options.ts";
import { flag, needed, type Rules, text, textsByName } from "../../options.ts";
import type { Store } from "../../stores/store.ts";

/** Where mcp-remote keeps its logins, and the parts of its command line that tell several at one server apart. */
export interface McpRemoteLocation {
  /** Its folder. Default: `MCP_REMOTE_CONFIG_DIR`, else `~/.mcp-auth`. */
  folder?: string | undefined;
  /** Value of `--resource`. */
  resource?: string | undefined;
  /** Values of `--authorize-param`. */
  authorizationParameters?: Readonly<Record<string, string>> | undefined;
  /** Values of `--header`, as written there: names in the same case, `${…}` not replaced. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** Value of `--client-metadata-url`. */
  clientMetadataUrl?: string | undefined;
}

/** Options of `importFromMcpRemote`. Those that mcp-remote was given as well must say the same. */
export interface McpRemoteImportOptions
  extends McpRemoteLocation,
    Pick<
      LoginOptions,
      "account" | "tokenEndpointAuthMethod" | "issuer" | "strictIssuer" | "fetch" | "allowInsecure" | "onEvent" | "clock"
    > {
  /** Where the login goes: the store that the app uses. */
  store: Store;
  /** The client of `--static-oauth-client-info`, which mcp-remote keeps in no file. */
  clientId?: string | undefined;
  /** Its secret, where it has one. */
  clientSecret?: string | undefined;
  /** Replaces a login that the store has already. Default `false`. */
  overwrite?: boolean | undefined;
}

export function mcpRemoteRules(): Rules<McpRemoteImportOptions> {
  const { account, store, tokenEndpointAuthMethod, issuer, strictIssuer, fetch, allowInsecure, onEvent, clock } = loginRules();
  const { authorizationParameters, clientMetadataUrl, clientId, clientSecret } = loginRules();
  return {
    ...{ account, store: needed(store), tokenEndpointAuthMethod, issuer, strictIssuer, fetch, allowInsecure, onEvent, clock },
    ...{ authorizationParameters, clientMetadataUrl, clientId, clientSecret },
    folder: text,
    resource: ["a URL", (value) => typeof value === "string" && URL.canParse(value)],
    headers: textsByName,
    overwrite: flag,
  };
}
