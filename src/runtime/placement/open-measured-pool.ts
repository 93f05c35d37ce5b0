import { neverCancelled } from "../../cancellation.js";
import { errorMessage } from "../../status.js";
import type { Tensor } from "../../tensor/index.js";
import { choosePlan, describePlan, type PlanMeasure, type PlanTrial } from "../plan-trial.js";
import { median } from "../warm-up.js";
import { ThreadPool, type ThreadPoolEnvironment, type ThreadPoolOptions } from "./thread-pool.js";
import type { ModelWorker } from "./worker.js";

const rounds = 5;
const aloneRuns = 2;
/** No run is begun later than this after the trial began. */
const mostTrialMs = 1500;

/**
 * Opens a pool for each plan, runs both in turn with the same zeros, as calls would run, and keeps the better one. The
 * machine may have other things to do meanwhile, and that must not look like a better plan: the model's plan counts by its
 * best round, the other by its median one. A trial that fails decides nothing.
 * @param first a worker that has loaded the model with the trial's plan
 * @param now milliseconds
 */
export async function openMeasuredPool(
  options: ThreadPoolOptions,
  environment: ThreadPoolEnvironment,
  first: ModelWorker,
  trial: PlanTrial,
  feeds: ReadonlyMap<string, Tensor>,
  now: () => number,
): Promise<ThreadPool> {
  const pool = await ThreadPool.open(options, environment, first);
  let other: ThreadPool | undefined;
  try {
    other = await ThreadPool.open({ ...options, model: { ...options.model, plan: trial.other } }, environment);
    const [mine, others] = await measureInTurn([pool, other]);
    const { plan, reason } = choosePlan(
      { plan: trial.plan, ...mine },
      { plan: trial.other, ...others },
      options.model.description.sizeBytes,
    );
    const [better, worse] = plan === trial.plan ? [pool, other] : [other, pool];
    better.addReason(reason);
    await worse.release();
    return better;
  } catch (error) {
    pool.addReason(`${describePlan(trial.other)} could not be tried: ${errorMessage(error)}`);
    await other?.release();
    return pool;
  }

  async function measureInTurn(pools: readonly [ThreadPool, ThreadPool]): Promise<readonly [Measured, Measured]> {
    const endAt = now() + mostTrialMs;
    const alone: [number, number] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
    const rates: [number[], number[]] = [[], []];
    for (const index of [0, 1] as const) alone[index] = await leastRunMs(pools[index]);
    for (let round = 0; round < rounds && (round === 0 || now() < endAt); round += 1) {
      for (const index of [0, 1] as const) {
        rates[index].push(await runsPerSecond(pools[index], endAt));
      }
    }
    return [
      { aloneMs: alone[0], runsPerSecond: Math.max(...rates[0]) },
      { aloneMs: alone[1], runsPerSecond: median(rates[1]) },
    ];
  }

  async function leastRunMs(of: ThreadPool): Promise<number> {
    let least = Number.POSITIVE_INFINITY;
    for (let run = 0; run < aloneRuns; run += 1) least = Math.min(least, await runOnce(of));
    return least;
  }

  /** With two calls for each session, if so many may wait, so that none waits for this thread between two runs. */
  async function runsPerSecond(of: ThreadPool, endAt: number): Promise<number> {
    let begun = 0;
    const start = now();
    const caller = async () => {
      do {
        begun += 1;
        await runOnce(of);
      } while (begun < trial.runs && now() < endAt);
    };
    const { sessions } = of.placement;
    await Promise.all(Array.from({ length: sessions + Math.min(sessions, options.maxQueue) }, caller));
    return (begun * 1000) / (now() - start);
  }

  async function runOnce(of: ThreadPool): Promise<number> {
    const fetches = options.model.description.outputs.map(({ name }) => name);
    return (await of.run(feeds, fetches, { cancellation: neverCancelled })).computeMs;
  }
}

type Measured = Omit<PlanMeasure, "plan">;
