import type { Store, StoredRecord } from "../../src/index.ts";
import type { Host } from "./host.ts";

/** Told about what has become durable. */
export interface StoreWatcher<P extends Host> {
  onWritten(writer: P, key: string, before: StoredRecord | undefined, after: StoredRecord | undefined): void;
  onReleased(holder: P, key: string): void;
  /** The lease of a living holder was over: another one has its lock. @param why it could not renew it; nothing: it could have */
  onTakenOver?(holder: P, key: string, why: string | undefined): void;
}

/** What all processes share: durable records, and locks. */
export interface SharedStore<P extends Host> {
  state: "works" | "full" | "fails";
  /** Puts a record there before anything else happens. */
  put(key: string, record: StoredRecord): Promise<void>;
  /** What a process sees of it. */
  storeFor(process: P): Store;
  /** A crash. @param landed whether what it was writing is there */
  abandon(process: P, landed: boolean): void;
  /** All locks that are held are lost, where that can happen. */
  loseLocks(): void;
  /** Whether it holds the lock of a login that it may refresh now. */
  mayRefresh(process: P): boolean;
}
