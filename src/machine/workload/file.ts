import { checkedAssertion, maxAssertionBytes, unavailable } from "./checked-assertion.ts";

/** Reads an assertion from a file, each time: the file is replaced before the assertion expires. */
export async function fileAssertion(path: string): Promise<string> {
  return checkedAssertion(await read(path), path);
}

/** Reads a token that the kubelet projects into the pod and keeps fresh. */
export async function kubernetesAssertion(path: string, issuer: string): Promise<string> {
  const hint = `Give the pod a projected volume with \`serviceAccountToken: { audience: "${issuer}", path: … }\`.`;
  return checkedAssertion(await read(path, hint), path);
}

async function read(path: string, hint?: string): Promise<string> {
  const { constants, promises } = process.getBuiltinModule("node:fs");
  try {
    // Without this flag, opening a pipe without a writer never returns.
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
