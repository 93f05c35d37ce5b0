// Rows made by a rule, for trainings whose end is known.

import type { NumericTensor } from "../../src/tensor/index.js";
import { type Examples, MemoryExamples, targetField, weightField } from "../../src/training/examples.js";
import { tensorOf } from "../../src/training/graph-emitter.js";
import { type Random, seededRandom } from "./finite-differences.js";

export const inputField = "x";

export interface Row {
  readonly x: readonly number[];
  readonly target: number | readonly number[];
  readonly weight?: number;
}

export interface SyntheticOptions {
  readonly count: number;
  readonly seed?: number;
  /** Of one row's input; default: as many numbers as there are. */
  readonly shape?: readonly number[];
  /** Whether targets are class numbers. */
  readonly sparse?: boolean;
}

export function syntheticExamples(
  { count, seed = 1, shape, sparse = false }: SyntheticOptions,
  make: (random: Random, index: number) => Row,
): Examples {
  const random = seededRandom(seed);
  const rows = Array.from({ length: count }, (_, index) => make(random, index));
  const inputs = shape ?? [rows[0]!.x.length];
  const targets = rows.map(({ target }) => (typeof target === "number" ? [target] : target));
  const tensors = new Map([
    [
      inputField,
      tensorOf(
        "float32",
        [count, ...inputs],
        rows.flatMap(({ x }) => x),
      ) as NumericTensor,
    ],
    [
      targetField,
      tensorOf(
        sparse ? "int64" : "float32",
        sparse ? [count] : [count, targets[0]!.length],
        targets.flat(),
      ) as NumericTensor,
    ],
  ]);
  if (rows.some(({ weight }) => weight !== undefined)) {
    tensors.set(
      weightField,
      tensorOf(
        "float32",
        [count],
        rows.map(({ weight }) => weight ?? 1),
      ) as NumericTensor,
    );
  }
  return new MemoryExamples(tensors);
}

/** y = 2·x₀ - 3·x₁ + 0.5, with a little noise. */
export const lineRow =
  (noise: number) =>
  (random: Random): Row => {
    const x = [random.normal(), random.normal()];
    return { x, target: 2 * x[0]! - 3 * x[1]! + 0.5 + noise * random.normal() };
  };

/** A class for each corner of a triangle, with noise. */
export const triangleRow =
  (noise: number) =>
  (random: Random, index: number): Row => {
    const target = index % 3;
    const angle = (2 * Math.PI * target) / 3;
    return { x: [Math.cos(angle) + noise * random.normal(), Math.sin(angle) + noise * random.normal()], target };
  };
