export { type AccessLog, silentAccessLog } from "./access-log.js";
export { type CallRecord, NewCallRecord } from "./call-record.js";
export { createLogger, type LoggerOptions, type RootLogger } from "./create-logger.js";
export { type EventLoopLag, EventLoopMonitor } from "./event-loop-lag.js";
export {
  type BatchStatistics,
  type CountedTime,
  emptyStatistics,
  InferenceStatistics,
  type VersionStatistics,
} from "./inference-statistics.js";
export type { LogFormat, LogLevel } from "./log-format.js";
export { type LogFields, type Logger, silentLogger } from "./logger.js";
export { Metrics, type MetricsOptions, type SessionLoad } from "./metrics.js";
export type { MetricsSnapshot } from "./metrics-snapshot.js";
