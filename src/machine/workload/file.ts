import { checkedAssertion, maxAssertionBytes, unavailable } from "./checked-assertion.ts";

/** Reads the file anew: whoever made it replaces it before it expires. */
export async function fileAssertion(path: string): Promise<string> {
  return checkedAssertion(await read(path), path);
}

/** Reads a token that the kubelet projects into the pod, and replaces. */
export async function kubernetesAssertion(path: string, issuer: string): Promise<string> {
  const hint = `Give the pod a projected volume with \`serviceAccountToken: { audience: "${issuer}", path: … }\`.`;
  return checkedAssertion(await read(path, hint), path);
}

async function read(path: string, hint?: string): Promise<string> {
  const { constants, promises } = process.getBuiltinModule("node:fs");
  try {
    // Without it, opening a pipe that nobody writes to takes for ever.
    const file = await promises.open(path, constants.O_NONBLOCK);
    try {
      const { bytesRead, buffer } = await file.read(new Uint8Array(maxAssertionBytes + 1), 0);
      return new TextDecoder().decode(buffer.subarray(0, bytesRead));
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw unavailable(`${path} cannot be read (${code})`, code === "ENOENT" ? hint : undefined);
  }
}
