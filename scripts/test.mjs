// npm test [-- FILTER…]: compiles src and test, then runs every dist/test/**/*.test.js whose path holds one of the filters.
import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const filters = process.argv.slice(2);
rmSync("dist", { recursive: true, force: true }); // a test deleted from the sources must not live on
try {
  execFileSync(process.execPath, [join("node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.json"], {
    stdio: "inherit",
  });
} catch {
  process.exit(1);
}
const tests = readdirSync(join("dist", "test"), { recursive: true })
  .filter((file) => file.endsWith(".test.js"))
  .map((file) => join("dist", "test", file))
  .filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)))
  .sort();
if (tests.length === 0) {
  console.error(`no test file matches ${filters.join(" ")}`);
  process.exit(1);
}
const run = spawnSync(
  process.execPath,
  ["--enable-source-maps", "--test", "--test-concurrency=2", "--test-timeout=120000", "--test-reporter=spec", ...tests],
  {
    stdio: "inherit",
    env: { ...process.env, ORT_DISABLE_TELEMETRY: "1" },
  },
);
process.exit(run.status ?? 1);
