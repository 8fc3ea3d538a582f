/** What must be remembered between sending the user away and the response, to check and use that response. */
export interface PendingAuthorization {
  /** Links the response to this request. */
  state: string;
  /** PKCE code verifier (RFC 7636 §4.1), sent with the code only. */
  codeVerifier: string;
  /** Links an ID token to this request. Only where the request asks for one: with the scope `openid`. */
  nonce?: string | undefined;
  /** `issuer` of the validated metadata, recorded before the user is sent away. */
  issuer: string;
  /** Another name by which it may call itself in a response, where the app allows one. */
  issuerAlias?: string | undefined;
  /** Whether the metadata promises `iss` in every response (RFC 9207 §3). */
  issParameterSupported: boolean;
  /** As sent; repeated verbatim with the code. */
  redirectUri: string;
}
