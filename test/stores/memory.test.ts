import { MemoryStore } from "../../src/stores/memory.ts";
import { storeContract } from "./contract-suite.ts";

storeContract("memory", async () => {
  const store = new MemoryStore();
  return { open: async () => store };
});
