// The first runs of a session, with zeros: they bring the model's memory into place before anyone waits for an answer,
// and show how long a run takes.
import type { TensorSpec } from "../onnx/index.js";
import { elementCount, elementTypeInfo, type Shape, type Tensor } from "../tensor/index.js";

export interface WarmupMeasure {
  /** Median of the runs, of a quick model's later half; the first is left out when there were more. undefined: there were none. */
  readonly medianMicros: number | undefined;
  /** Why it was not; "" when it was. */
  readonly skipped: string;
}

export type WarmupFeeds =
  | { readonly feeds: ReadonlyMap<string, Tensor> }
  /** Why zeros cannot be made. */
  | { readonly skipped: string };

const fewRuns = 30;
/** A quick model is run on until this much time has gone: its first runs are through code that is not yet compiled. */
const quickMs = 3;
const mostRuns = 300;
const budgetMs = 200;

/** Zeros for every input, open dimensions being 1; an input of any rank gets a vector of one. */
export function warmupFeeds(inputs: readonly TensorSpec[], maxBytes: number): WarmupFeeds {
  const shapes = inputs.map(({ shape }): Shape => shape?.map((size) => (typeof size === "number" ? size : 1)) ?? [1]);
  let bytes = 0;
  for (const [index, { dtype }] of inputs.entries()) {
    // A string takes a pointer at least.
    bytes += (elementCount(shapes[index]!) ?? Infinity) * (elementTypeInfo(dtype).bytesPerElement || 8);
  }
  if (bytes > maxBytes) return { skipped: `its inputs take ${bytes} bytes, more than the ${maxBytes} tried unasked` };
  return { feeds: new Map(inputs.map(({ name, dtype }, index) => [name, zeros(dtype, shapes[index]!)])) };
}

/**
 * Runs until the median is trustworthy or 200 ms have passed, at least once.
 * A run that fails ends it: zeros are not good data for every model, and that is not the model's fault.
 */
export function measureWarmup(run: () => void, now: () => number): WarmupMeasure {
  const micros: number[] = [];
  const start = now();
  for (let at = start; at - start < (micros.length < fewRuns ? budgetMs : quickMs) && micros.length < mostRuns; ) {
    try {
      run();
    } catch (error) {
      return { medianMicros: undefined, skipped: `the runtime refuses zeros: ${(error as Error).message}` };
    }
    const end = now();
    micros.push((end - at) * 1000);
    at = end;
  }
  // The first run allocates and compiles, and stands for none that follows.
  const skipped = micros.length > fewRuns ? micros.length >> 1 : Math.min(1, micros.length - 1);
  return { medianMicros: median(micros.slice(skipped)), skipped: "" };
}

function zeros(dtype: Tensor["dtype"], shape: Shape): Tensor {
  const { array } = elementTypeInfo(dtype);
  const length = elementCount(shape)!;
  return { dtype, shape, data: array === undefined ? new Array<string>(length).fill("") : new array(length) };
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
