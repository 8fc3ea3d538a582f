import type { DatabaseSync, StatementSync } from "node:sqlite";
import { McpAuthError } from "../../errors.ts";
import { fileAt } from "./files.ts";

/** Marks our databases (`PRAGMA application_id`): "MCPA". */
const applicationId = 0x4d435041;
const schemaVersion = 1;

/** A database that is not ours. */
export class ForeignDatabase extends Error {}
/** A database of ours that is not whole. */
export class DamagedDatabase extends Error {}

/**
 * Checks that the database is ours and complete, at a cost that does not grow with it. Marks a new one as ours.
 *
 * @throws McpAuthError `invalid_record` for one of a newer version; {@link ForeignDatabase}, {@link DamagedDatabase}; what SQLite throws
 */
export function prepareDatabase(database: DatabaseSync, path: string): void {
  // EXTRA synchronises the folder, too, after a journal was deleted at the end of a transaction.
  database.exec("PRAGMA synchronous = EXTRA; PRAGMA cell_size_check = ON");
  const id = pragma(database, "application_id");
  const version = pragma(database, "user_version");
  if (id === applicationId && version === schemaVersion) {
    if (isCutOff(database, path) || !hasRecords(database)) throw new DamagedDatabase();
    return;
  }
  if (id === applicationId && Number(version) > schemaVersion) {
    throw new McpAuthError("invalid_record", { detail: `the database has version ${version}` });
  }
  database.exec("BEGIN IMMEDIATE");
  // Another process may have done it first.
  if (pragma(database, "application_id") !== applicationId) {
    if (pragma(database, "schema_version") !== 0) throw new ForeignDatabase();
    database.exec(`
      PRAGMA application_id = ${applicationId};
      PRAGMA user_version = ${schemaVersion};
      CREATE TABLE records (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;`);
  }
  database.exec("COMMIT");
}

/** SQLite finds missing pages, and takes a page that is there in part for a whole one. */
function isCutOff(database: DatabaseSync, path: string): boolean {
  // In a transaction: nobody writes meanwhile.
  database.exec("BEGIN");
  const bytes = Number(pragma(database, "page_count")) * Number(pragma(database, "page_size"));
  const size = fileAt(path)?.size ?? 0;
  database.exec("COMMIT");
  return size < bytes;
}

function hasRecords(database: DatabaseSync): boolean {
  const columns = database.prepare("SELECT name FROM pragma_table_info('records') ORDER BY cid").all();
  return columns.map(({ name }) => name).join() === "key,value";
}

function pragma(database: DatabaseSync, name: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

/** Gives a statement, which is prepared once. */
export type Statements = (sql: string) => StatementSync;

/** Statements of a database. */
export function statementsOf(database: DatabaseSync): Statements {
  const prepared = new Map<string, StatementSync>();
  return (sql) => {
    const statement = prepared.get(sql) ?? database.prepare(sql);
    prepared.set(sql, statement);
    return statement;
  };
}
