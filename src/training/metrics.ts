// What a model's predictions are worth, weighted by sample. Pure arithmetic over whole arrays.

/** regression: numbers; binary: a probability each; multiclass: a probability for each of the classes. */
export type Task =
  | { readonly kind: "regression" }
  | { readonly kind: "binary"; readonly threshold: number }
  | { readonly kind: "multiclass"; readonly classes: number; readonly topK: number };

/** Predictions and targets lie row by row; a multiclass target is a class number. */
export interface Judged {
  readonly predictions: ArrayLike<number>;
  readonly targets: ArrayLike<number>;
  /** One for each row, where a row may have several predictions. */
  readonly weights: ArrayLike<number>;
}

export interface Metrics {
  /** By name: "accuracy", "f1_macro" … One that the data do not define (such as AUC with one class only) is left out. */
  readonly values: ReadonlyMap<string, number>;
  /** Weight of the rows by true class, then by predicted class; undefined for regression. */
  readonly confusion: readonly (readonly number[])[] | undefined;
}

/** Metrics of which less is better; of all others, more. */
export const lessIsBetter: ReadonlySet<string> = new Set(["loss", "log_loss", "mae", "mse", "rmse"]);

export function computeMetrics(task: Task, judged: Judged): Metrics {
  switch (task.kind) {
    case "regression":
      return { values: defined(regression(judged)), confusion: undefined };
    case "binary":
      return binary(judged, task.threshold);
    case "multiclass":
      return multiclass(judged, task.classes, task.topK);
  }
}

function regression(judged: Judged): Record<string, number> {
  const { predictions, targets } = judged;
  const weightOf = weightsOf(judged, targets.length);
  let [total, absolute, squared, sum] = [0, 0, 0, 0];
  for (let i = 0; i < targets.length; i++) {
    const weight = weightOf(i);
    const error = predictions[i]! - targets[i]!;
    total += weight;
    absolute += weight * Math.abs(error);
    squared += weight * error * error;
    sum += weight * targets[i]!;
  }
  const mean = sum / total;
  let spread = 0;
  for (let i = 0; i < targets.length; i++) spread += weightOf(i) * (targets[i]! - mean) ** 2;
  return {
    mae: absolute / total,
    mse: squared / total,
    rmse: Math.sqrt(squared / total),
    // Against always guessing the mean, which is impossible to beat where all targets are the same.
    r2: spread === 0 ? Number.NaN : 1 - squared / spread,
  };
}

function binary(judged: Judged, threshold: number): Metrics {
  const { predictions, targets } = judged;
  const weightOf = weightsOf(judged, targets.length);
  const confusion = [
    [0, 0],
    [0, 0],
  ];
  let loss = 0;
  for (let i = 0; i < targets.length; i++) {
    const truth = Number(targets[i]! >= 0.5);
    confusion[truth]![Number(predictions[i]! >= threshold)]! += weightOf(i);
    loss += weightOf(i) * logLoss(truth === 1 ? predictions[i]! : 1 - predictions[i]!);
  }
  const total = sumOf(confusion.flat());
  const [negative, positive] = perClass(confusion);
  const values = {
    accuracy: (confusion[0]![0]! + confusion[1]![1]!) / total,
    precision: positive!.precision,
    recall: positive!.recall,
    f1: positive!.f1,
    f1_macro: (negative!.f1 + positive!.f1) / 2,
    f1_weighted: (negative!.f1 * negative!.support + positive!.f1 * positive!.support) / total,
    // With one class predicted for each row, the micro average is the accuracy.
    f1_micro: (confusion[0]![0]! + confusion[1]![1]!) / total,
    auc: areaUnderCurve(predictions, (i) => targets[i]! >= 0.5, weightOf),
    log_loss: loss / total,
  };
  return { values: defined(values), confusion };
}

function multiclass(judged: Judged, classes: number, topK: number): Metrics {
  const { predictions, targets } = judged;
  const weightOf = weightsOf(judged, targets.length);
  const confusion = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  let [total, loss, near] = [0, 0, 0];
  for (let i = 0; i < targets.length; i++) {
    const row = i * classes;
    const truth = targets[i]!;
    const weight = weightOf(i);
    let best = 0;
    let better = 0;
    for (let k = 0; k < classes; k++) {
      if (predictions[row + k]! > predictions[row + best]!) best = k;
      if (predictions[row + k]! > predictions[row + truth]!) better += 1;
    }
    confusion[truth]![best]! += weight;
    total += weight;
    loss += weight * logLoss(predictions[row + truth]!);
    if (better < topK) near += weight;
  }
  const right = sumOf(confusion.map((row, k) => row[k]!));
  // Classes that neither occur nor are predicted say nothing.
  const seen = perClass(confusion).filter(({ support, predicted }) => support > 0 || predicted > 0);
  const macro = (of: (scores: ClassScores) => number) => sumOf(seen.map(of)) / seen.length;
  const weighted = (of: (scores: ClassScores) => number) =>
    sumOf(seen.map((scores) => of(scores) * scores.support)) / total;
  const values: Record<string, number> = {
    accuracy: right / total,
    precision_macro: macro(({ precision }) => precision),
    precision_weighted: weighted(({ precision }) => precision),
    recall_macro: macro(({ recall }) => recall),
    recall_weighted: weighted(({ recall }) => recall),
    f1_macro: macro(({ f1 }) => f1),
    f1_weighted: weighted(({ f1 }) => f1),
    // With one class predicted for each row, the micro averages are all the accuracy.
    precision_micro: right / total,
    recall_micro: right / total,
    f1_micro: right / total,
    auc: oneAgainstRest(judged, classes, weightOf),
    log_loss: loss / total,
  };
  if (topK < classes) values[`top_${topK}_accuracy`] = near / total;
  return { values: defined(values), confusion };
}

interface ClassScores {
  readonly support: number;
  readonly predicted: number;
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
}

function perClass(confusion: readonly (readonly number[])[]): ClassScores[] {
  return confusion.map((row, k) => {
    const hits = row[k]!;
    const support = sumOf(row);
    const predicted = sumOf(confusion.map((other) => other[k]!));
    // A class never predicted has no precision; 0 by convention.
    const precision = predicted === 0 ? 0 : hits / predicted;
    const recall = support === 0 ? 0 : hits / support;
    const f1 = support + predicted === 0 ? 0 : (2 * hits) / (support + predicted);
    return { support, predicted, precision, recall, f1 };
  });
}

/** The mean over classes of how well each is told from all others; over those that have both kinds of rows. */
function oneAgainstRest({ predictions, targets }: Judged, classes: number, weightOf: (i: number) => number): number {
  const areas: number[] = [];
  const scores = new Float64Array(targets.length);
  for (let k = 0; k < classes; k++) {
    for (let i = 0; i < scores.length; i++) scores[i] = predictions[i * classes + k]!;
    const area = areaUnderCurve(scores, (i) => targets[i] === k, weightOf);
    if (!Number.isNaN(area)) areas.push(area);
  }
  return areas.length === 0 ? Number.NaN : sumOf(areas) / areas.length;
}

/**
 * The chance that a positive has a higher score than a negative, ties counting half: the sum over groups of equal
 * scores, from the lowest, of their positives times the negatives below and half of those beside them.
 */
function areaUnderCurve(
  scores: ArrayLike<number>,
  isPositive: (i: number) => boolean,
  weightOf: (i: number) => number,
): number {
  const order = Uint32Array.from({ length: scores.length }, (_, i) => i).sort((a, b) => scores[a]! - scores[b]!);
  let [area, negatives, positives] = [0, 0, 0];
  for (let start = 0; start < order.length; ) {
    let [groupPositives, groupNegatives, end] = [0, 0, start];
    for (; end < order.length && scores[order[end]!] === scores[order[start]!]; end++) {
      if (isPositive(order[end]!)) groupPositives += weightOf(order[end]!);
      else groupNegatives += weightOf(order[end]!);
    }
    area += groupPositives * (negatives + groupNegatives / 2);
    positives += groupPositives;
    negatives += groupNegatives;
    start = Math.max(end, start + 1);
  }
  return area / (positives * negatives);
}

/** The weight of a target's row. */
function weightsOf({ weights }: Judged, targets: number): (i: number) => number {
  const perRow = targets / weights.length;
  return perRow === 1 ? (i) => weights[i]! : (i) => weights[Math.floor(i / perRow)]!;
}

/** No surprise is infinite: probabilities come from 32-bit floats. */
const logLoss = (probability: number): number => -Math.log(Math.min(1, Math.max(probability, 1e-15)));

const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);

const defined = (values: Readonly<Record<string, number>>): ReadonlyMap<string, number> =>
  new Map(Object.entries(values).filter(([, value]) => Number.isFinite(value)));
