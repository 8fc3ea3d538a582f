/**
 * What is used of `oauth4webapi`: imported dynamically, so that a program whose token is stored starts without it, and by name, so
 * that bundlers leave out the rest.
 */
export { ClientSecretPost, calculatePKCECodeChallenge, None, TlsClientAuth } from "oauth4webapi";
