// Loaded by each instrumented file: says which mutant is in use, or records which ones are reached.
const { appendFileSync, readFileSync } = require("node:fs");
const { join } = require("node:path");

const active = readFileSync(join(__dirname, "active"), "utf8");
if (active === "record") {
  const reached = new Set();
  module.exports = (id) => {
    reached.add(id);
    return false;
  };
  /** Writes down what was reached since the last time by a test, or, without one, before any. */
  module.exports.flush = (file, test, ms) => {
    if (reached.size > 0) appendFileSync(join(__dirname, "reached"), `${JSON.stringify({ file, test, ms, ids: [...reached] })}\n`);
    reached.clear();
  };
  // For programs that a test has started.
  process.on("exit", () => {
    if (process.env.MUTATION_TEST) module.exports.flush(...JSON.parse(process.env.MUTATION_TEST), 0);
  });
} else {
  const number = Number(active);
  module.exports = (id) => id === number;
}
