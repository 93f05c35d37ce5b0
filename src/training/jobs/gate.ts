// Whether a candidate may be published: decided from numbers alone.
import { lessIsBetter } from "../metrics.js";
import type { JobEvaluation } from "./job.js";
import type { GateSpec } from "./job-spec.js";

export type GateVerdict = { readonly open: true } | { readonly open: false; readonly reason: string };

/**
 * Every condition must hold on the validation rows. An update or fine-tune must besides be no worse than its base on the
 * same rows: in each metric that a condition names, or in the loss where there is none.
 * @param evaluation undefined when there are no validation rows
 * @param base undefined for a new model
 */
export function judgeCandidate(
  gate: GateSpec,
  evaluation: JobEvaluation | undefined,
  base: JobEvaluation | undefined,
): GateVerdict {
  if (evaluation === undefined) {
    return gate.conditions.length === 0
      ? { open: true }
      : {
          open: false,
          reason: "the gate has conditions, and there are no validation rows to hold the candidate against",
        };
  }
  const failed = gate.conditions.flatMap((condition) => failedCondition(condition, evaluation));
  if (failed.length === 0 && base !== undefined && !gate.allowWorse) {
    const named = gate.conditions.map(({ metric }) => metric);
    for (const metric of new Set(named.length === 0 ? ["loss"] : named))
      failed.push(...worse(metric, evaluation, base));
  }
  return failed.length === 0 ? { open: true } : { open: false, reason: `the gate is shut: ${failed.join("; ")}` };
}

function failedCondition({ metric, min, max }: GateSpec["conditions"][number], { metrics }: JobEvaluation): string[] {
  const value = Object.hasOwn(metrics, metric) ? metrics[metric] : undefined;
  if (value === undefined) {
    return [`the validation rows give no "${metric}"; they give ${Object.keys(metrics).join(", ")}`];
  }
  // Written so that what is not a number does not pass.
  if (min !== undefined && !(value >= min)) return [`${metric} is ${short(value)}, and ${min} is wanted at least`];
  if (max !== undefined && !(value <= max)) return [`${metric} is ${short(value)}, and ${max} is wanted at most`];
  return [];
}

function worse(metric: string, { metrics }: JobEvaluation, { metrics: before }: JobEvaluation): string[] {
  const [now, was] = [metrics[metric], before[metric]];
  if (now === undefined || was === undefined) return [];
  const fine = lessIsBetter.has(metric) ? now <= was : now >= was;
  if (fine) return [];
  return [
    `${metric} is ${short(now)}, worse than the base's ${short(was)} on the same rows; allow_worse takes it all the same`,
  ];
}

const short = (value: number): string => String(Number(value.toPrecision(6)));
