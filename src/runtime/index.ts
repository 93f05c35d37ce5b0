export type { BatchingOptions } from "./batching/batching-options.js";
export { BatchingSession } from "./batching/batching-session.js";
export type { LoadedModel, ModelRuntime, SessionOptions } from "./model-runtime.js";
export type { PlacementInfo, RunOptions, RunResult, Session } from "./session.js";
