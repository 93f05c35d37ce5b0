export type { LoadedModel, ModelRuntime, SessionOptions } from "./model-runtime.js";
export type { PlacementInfo, RunOptions, RunResult, Session } from "./session.js";
