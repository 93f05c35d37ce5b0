import type { RuntimeOptions } from "../runtime-options.js";

/** What was measured and found when the model was loaded. */
export interface PlacementEvidence {
  /** The model file and its external data. */
  readonly modelBytes: number;
  readonly hasStringInputs: boolean;
  /** Median of the warm-up runs; undefined when there were none. */
  readonly warmupRunMicros: number | undefined;
  /** Why there were none. */
  readonly warmupSkipped: string;
  readonly createMs: number;
  /** Types of the graph's nodes, other domains than ONNX's own with their names before a colon; undefined: not known. */
  readonly operators: readonly string[] | undefined;
}

export interface PlacementDecision {
  readonly kind: "inline" | "thread-pool";
  readonly reason: string;
  /** Nothing but its time keeps the model from the serving thread, or might: it is worth measuring again. */
  readonly timeDecides: boolean;
}

/** Beyond, a second copy of the weights while a session is made here is too much; see also inlineMaxCreateMs. */
const inlineModelBytes = 16 * 1024 * 1024;
/** A model slower than the threshold by this factor was not mismeasured. */
const doubtfulFactor = 20;

/** On the serving thread only what is short there beyond doubt; everything else goes to a thread pool. */
export function decidePlacement(
  { modelBytes, hasStringInputs, warmupRunMicros, warmupSkipped, createMs, operators }: PlacementEvidence,
  { inlineThresholdMicros, inlineMaxCreateMs }: Pick<RuntimeOptions, "inlineThresholdMicros" | "inlineMaxCreateMs">,
): PlacementDecision {
  const pool = (reason: string, timeDecides = false): PlacementDecision => ({
    kind: "thread-pool",
    reason,
    timeDecides,
  });
  if (inlineThresholdMicros === 0) return pool("no model is to run on the serving thread");
  if (warmupRunMicros === undefined) return pool(`not warmed up: ${warmupSkipped}`);
  const median = `median warm-up run ${formatMicros(warmupRunMicros)}`;
  const limit = `the ${formatMicros(inlineThresholdMicros)} limit of the serving thread`;
  const obstacle = obstacleTo({ modelBytes, hasStringInputs, createMs, operators }, inlineMaxCreateMs);
  if (warmupRunMicros >= inlineThresholdMicros) {
    const doubtful = warmupRunMicros < doubtfulFactor * inlineThresholdMicros;
    return pool(`${median}, not under ${limit}`, doubtful && obstacle === undefined);
  }
  if (obstacle !== undefined) return pool(`${median}, but ${obstacle}`);
  return { kind: "inline", reason: `${median}, under ${limit}`, timeDecides: true };
}

/** What speaks against the serving thread, however short a run is. */
function obstacleTo(
  {
    modelBytes,
    hasStringInputs,
    createMs,
    operators,
  }: Pick<PlacementEvidence, "modelBytes" | "hasStringInputs" | "createMs" | "operators">,
  maxCreateMs: number,
): string | undefined {
  if (modelBytes >= inlineModelBytes) return `the model takes ${modelBytes} bytes`;
  // Strings are converted one by one on the thread that runs, however many a request brings.
  if (hasStringInputs) return "it takes strings";
  if (operators === undefined) return "what its graph does is not known";
  const unbounded = operators.find(costFollowsValues);
  if (unbounded !== undefined) return `what ${unbounded} costs follows from values it is fed`;
  if (createMs > maxCreateMs) return `its session took ${Math.round(createMs)} ms to make`;
  return undefined;
}

/**
 * Whether a node may take long, or make a large output, because of the values in a small input: an iteration count, a
 * size. One such request would hold up everyone on the serving thread, and a warm-up with zeros shows nothing of it.
 * Operators of domains that are not ONNX's own are not known, and so may.
 */
function costFollowsValues(operator: string): boolean {
  const [domain, name] = operator.includes(":") ? operator.split(":") : ["", operator];
  return (domain !== "" && domain !== "ai.onnx.ml") || sizedByValues.has(name!);
}

const sizedByValues: ReadonlySet<string> = new Set([
  ...["Loop", "Scan", "If", "Range", "Expand", "Tile", "ConstantOfShape", "OneHot", "Resize", "Upsample", "Pad"],
  ...["Col2Im", "CenterCropPad", "AffineGrid", "MaxUnpool", "NonMaxSuppression", "DFT", "STFT", "MelWeightMatrix"],
  ...["HannWindow", "HammingWindow", "BlackmanWindow", "RandomNormal", "RandomUniform", "Multinomial"],
]);

export function formatMicros(micros: number): string {
  if (micros < 1000) return `${Math.round(micros)} µs`;
  return `${(micros / 1000).toFixed(micros < 10_000 ? 1 : 0)} ms`;
}
