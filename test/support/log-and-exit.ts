// A program that logs as many lines as its argument says, tells so on standard error, flushes and exits.
import { createLogger } from "../../src/telemetry/index.js";

const logger = createLogger({ level: "info", format: "json" });
for (let line = 0; line < Number(process.argv[2]); line += 1) {
  logger.info("a line among many, long enough that a pipe holds only a few hundred of its kind", { line });
}
process.stderr.write("logged\n");
await logger.flush();
process.exit(0);
