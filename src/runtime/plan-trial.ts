// Several sessions with few threads each, or one session with all of them: which serves more calls depends on the model.
// Small operators gain nothing from threads, large ones little from a second copy of their weights in the caches, and no
// rule of thumb knows which a model has. So both are tried when it is loaded, where that is cheap: whether and how is
// decided here, as well as what comes of it; open-measured-pool.ts does it.
import type { RuntimeOptions } from "./runtime-options.js";
import type { ValidSessionOptions } from "./session-options.js";
import { mostSessions, planThreads, sharedBytes, type ThreadPlan } from "./thread-plan.js";

export interface PlanTrial {
  /** What the model is served with unless the trial says otherwise. */
  readonly plan: ThreadPlan;
  /** The other way to use the same CPUs. */
  readonly other: ThreadPlan;
  /** Runs of each in a round. */
  readonly runs: number;
}

export interface TrialEvidence {
  readonly asked: Pick<ValidSessionOptions, "poolSize" | "intraOpThreads">;
  readonly modelBytes: number;
  /** Median of the warm-up runs; undefined when there were none. */
  readonly warmupRunMicros: number | undefined;
  readonly createMs: number;
  /** What the system can still give to this process. */
  readonly freeBytes: number;
}

/** What came of trying one plan. */
export interface PlanMeasure {
  readonly plan: ThreadPlan;
  /** With as many calls as keep all sessions busy. */
  readonly runsPerSecond: number;
  /** Of a call that is alone. */
  readonly aloneMs: number;
}

/** A round of one plan takes about so long, or two runs of each session. */
const roundMs = 25;
/** Sessions that take longer to make are not made for a trial. */
const mostCreateMs = 500;
/** Plans whose throughputs differ by less are equally good, and so are times. */
const tie = 1.1;
/** Several copies of a model that are too large to be made unasked must serve so much more. */
const clearWin = 1.25;

/** undefined: nothing is left to choose, or finding out costs more than it is worth. */
export function proposeTrial(
  { asked, modelBytes, warmupRunMicros, createMs, freeBytes }: TrialEvidence,
  {
    cpus,
    trialShortestRunMicros,
    trialLongestRunMicros,
  }: Pick<RuntimeOptions, "cpus" | "trialShortestRunMicros" | "trialLongestRunMicros">,
): PlanTrial | undefined {
  if (cpus === 1 || asked.poolSize !== undefined || asked.intraOpThreads !== undefined) return undefined;
  if (warmupRunMicros === undefined || createMs > mostCreateMs) return undefined;
  if (warmupRunMicros < trialShortestRunMicros || warmupRunMicros > trialLongestRunMicros) return undefined;
  const plan = planThreads(asked, cpus, modelBytes);
  const sessions = Math.min(mostSessions, cpus);
  const other: ThreadPlan =
    plan.poolSize > 1
      ? { poolSize: 1, intraOpThreads: cpus }
      : { poolSize: sessions, intraOpThreads: Math.floor(cpus / sessions) };
  // A session may hold its weights twice, as they are in the file and packed for its kernels.
  if (2 * other.poolSize * modelBytes > freeBytes / 2) return undefined;
  const runsPerSession = Math.max(2, Math.min(50, Math.ceil((roundMs * 1000) / Math.max(1, warmupRunMicros))));
  return { plan, other, runs: runsPerSession * Math.max(plan.poolSize, other.poolSize) };
}

/**
 * The plan that serves more calls; of two that serve equally many, the one that answers a call alone sooner; if neither
 * does, the one that needs no measuring.
 * @param planned the trial's plan
 */
export function choosePlan(
  planned: PlanMeasure,
  other: PlanMeasure,
  modelBytes: number,
): { readonly plan: ThreadPlan; readonly reason: string } {
  const [several, one] = planned.plan.poolSize > 1 ? [planned, other] : [other, planned];
  const gain = several.runsPerSecond / one.runsPerSecond;
  const chosen = (winner: PlanMeasure, loser: PlanMeasure, why: string) => ({
    plan: winner.plan,
    reason: `${describePlan(winner.plan)} ran ${rate(winner)} times a second, ${describePlan(loser.plan)} ${rate(loser)}${why}`,
  });
  if (several.plan.poolSize * modelBytes > sharedBytes) {
    if (gain >= clearWin) return chosen(several, one, "");
    return chosen(one, several, gain < 1 ? "" : ", which is not worth that many copies of the model");
  }
  if (gain > tie) return chosen(several, one, "");
  if (gain < 1 / tie) return chosen(one, several, "");
  const [winner, loser] = other.aloneMs * tie < planned.aloneMs ? [other, planned] : [planned, other];
  return chosen(winner, loser, `; a call alone took ${millis(winner)} against ${millis(loser)} ms`);
}

export function describePlan({ poolSize, intraOpThreads }: ThreadPlan): string {
  return `${poolSize} ${poolSize === 1 ? "session" : "sessions"} of ${intraOpThreads} ${intraOpThreads === 1 ? "thread" : "threads"}`;
}

function rate({ runsPerSecond }: PlanMeasure): string {
  return runsPerSecond < 10 ? runsPerSecond.toFixed(1) : String(Math.round(runsPerSecond));
}

function millis({ aloneMs }: PlanMeasure): string {
  return aloneMs.toFixed(1);
}
