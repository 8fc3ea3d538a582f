/** What is used of `oauth4webapi`, by name: so bundlers leave out the rest, although this file is imported dynamically. */
export { ClientSecretPost, None, TlsClientAuth } from "oauth4webapi";
