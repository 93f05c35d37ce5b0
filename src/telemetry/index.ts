export type { CallRecord } from "./call-record.js";
export { type LogFields, type Logger, silentLogger } from "./logger.js";
