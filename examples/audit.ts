/**
 * An audit trail of a user's login: a file with one line of JSON for each event that matters, and a span of OpenTelemetry beside
 * it. Only OpenTelemetry's API is used: without an SDK that the app registers, it does nothing.
 *
 *     AUDIT_FILE=audit.jsonl node examples/audit.ts https://mcp.example.com/mcp
 */
import { strict as assert } from "node:assert";
import { appendFileSync, readFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SpanStatusCode, trace } from "@opentelemetry/api";
import { type AuditRecord, auditTrail } from "mcp-client-auth";
import { createMcpAuth } from "mcp-client-auth/node";
import { toolRequest } from "../test/fixture/tool-request.ts";
import { target } from "./support/target.ts";
import { standInTracer } from "./support/tracer.ts";

const file = process.env.AUDIT_FILE ?? join(await mkdtemp(join(tmpdir(), "mcp-client-auth-audit-")), "audit.jsonl");
const server = await target();
// An app registers its OpenTelemetry SDK instead.
const traced = standInTracer();
const tracer = trace.getTracer("mcp-client-auth");

/** A span without duration: what the record says has happened at that time. */
function traceRecord({ time, action, outcome, ...facts }: AuditRecord): void {
  const startTime = new Date(time);
  const attributes = Object.entries(facts).map(([name, value]) => [`mcp.auth.${name}`, value ?? ""]);
  const span = tracer.startSpan(`mcp.auth.${action}`, { startTime, attributes: Object.fromEntries(attributes) });
  if (outcome === "refused" || outcome === "failed") span.setStatus({ code: SpanStatusCode.ERROR, message: outcome });
  span.end(startTime);
}

const audit = auditTrail({
  account: "ann",
  write(line, record) {
    try {
      // Written before anything else happens, readable by this user alone.
      appendFileSync(file, `${line}\n`, { mode: 0o600 });
    } catch (error) {
      // What a listener throws is ignored: whoever must not lose a line says here what happens then.
      console.error(`The audit trail cannot be written: ${error}`);
    }
    traceRecord(record);
  },
});

const auth = createMcpAuth(server.url, {
  clientName: "Audit example",
  account: "ann",
  onEvent(event) {
    audit(event);
    if (event.type === "login.opened") console.log("A browser was opened.");
  },
  ...server.options,
});
try {
  await auth.authorize();
  // More scopes than before: the user is asked once more.
  await auth.fetch(auth.serverUrl, toolRequest("write_note", { text: "hello" }));
  await auth.logout();
} finally {
  await auth.dispose();
  await server.close();
}

const lines = readFileSync(file, "utf8").trimEnd().split("\n");
console.log(`\n${file}:\n${lines.join("\n")}`);
const records = lines.map((line) => JSON.parse(line) as AuditRecord);
assert.deepEqual([records[0]?.action, records.at(-1)?.action], ["login", "logout"]);
assert.ok(records.every(({ account }) => account === "ann"));
assert.deepEqual(
  traced.map(([name]) => name),
  records.slice(-traced.length).map(({ action }) => `mcp.auth.${action}`),
);
