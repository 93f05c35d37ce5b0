import type { InferBatchStatistics, ModelStatistics, StatisticDuration } from "../../gen/inference/grpc_service.js";
import type { BatchStatistics, CountedTime, VersionStatistics } from "../../telemetry/index.js";

/** inference.ModelStatistics of one version. There is no response cache, and memory is not told apart by model. */
export function toModelStatistics(statistics: VersionStatistics): ModelStatistics {
  const { model, version, lastInferenceMs, rows, runs, batches } = statistics;
  return {
    name: model,
    version: version.toString(),
    lastInference: whole(lastInferenceMs),
    inferenceCount: whole(rows),
    executionCount: whole(runs),
    inferenceStats: {
      success: duration(statistics.success),
      fail: duration(statistics.fail),
      queue: duration(statistics.queue),
      computeInput: duration(statistics.computeInput),
      computeInfer: duration(statistics.computeInfer),
      computeOutput: duration(statistics.computeOutput),
      cacheHit: none,
      cacheMiss: none,
    },
    batchStats: [...batches].sort(([a], [b]) => a - b).map(([size, batch]) => toBatchStatistics(size, batch)),
    memoryUsage: [],
    responseStats: new Map(),
  };
}

function toBatchStatistics(size: number, { runs, inputMs, inferMs, outputMs }: BatchStatistics): InferBatchStatistics {
  const count = Math.round(runs);
  return {
    batchSize: BigInt(size),
    computeInput: duration({ count, ms: inputMs }),
    computeInfer: duration({ count, ms: inferMs }),
    computeOutput: duration({ count, ms: outputMs }),
  };
}

const none: StatisticDuration = { count: 0n, ns: 0n };

function duration({ count, ms }: CountedTime): StatisticDuration {
  return { count: BigInt(count), ns: whole(ms * 1e6) };
}

function whole(value: number): bigint {
  return BigInt(Math.round(value));
}
