import { describe, onTestFinished, test } from "vitest";
import { contract, type StoreUnderTest } from "./store-contract.ts";

/** The promises of `Store` as tests: each on a store of its own. */
export function storeContract(name: string, create: () => Promise<StoreUnderTest>): void {
  describe(`store contract: ${name}`, () => {
    test.each(contract)("%s", async (_promise, check) => {
      const subject = await create();
      onTestFinished(() => subject.close?.());
      await check(await subject.open(), () => subject.open());
    });
  });
}
