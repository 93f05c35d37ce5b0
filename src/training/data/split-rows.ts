import { requireNumber } from "../../options.js";
import { invalidArgument } from "../../status.js";
import { CounterRandom, randomStreams } from "../counter-random.js";

export interface Split {
  /** Row numbers, ascending. */
  readonly train: Uint32Array;
  readonly validation: Uint32Array;
}

/**
 * Sets a share of the rows aside, the same ones for the same seed. With classes, each gives its share, at least one row
 * where it has two. Throws INVALID_ARGUMENT when either side would be empty.
 */
export function splitRows(count: number, share: number, seed: number, classes?: ArrayLike<number>): Split {
  requireNumber("validation_split", share, { min: 0, below: 1 });
  const aside = new Uint8Array(count);
  if (share > 0) {
    groupsOf(count, classes).forEach((rows, group) => {
      let taken = Math.round(rows.length * share);
      // A class of one row is to be learned rather than judged.
      if (classes !== undefined) taken = Math.min(Math.max(taken, 1), rows.length - 1);
      const order = new CounterRandom(seed, randomStreams.split, group).permutation(rows.length);
      for (let i = 0; i < taken; i++) aside[rows[order[i]!]!] = 1;
    });
  }
  const all = Uint32Array.from({ length: count }, (_, row) => row);
  const split = { train: all.filter((row) => aside[row] === 0), validation: all.filter((row) => aside[row] === 1) };
  if (split.train.length === 0)
    throw invalidArgument(`validation_split ${share} leaves none of ${count} rows to train on`);
  if (share > 0 && split.validation.length === 0) {
    throw invalidArgument(`validation_split ${share} sets none of ${count} rows aside`);
  }
  return split;
}

function groupsOf(count: number, classes: ArrayLike<number> | undefined): number[][] {
  if (classes === undefined) return [Array.from({ length: count }, (_, row) => row)];
  const groups = new Map<number, number[]>();
  for (let row = 0; row < count; row++) {
    const group = groups.get(classes[row]!);
    if (group === undefined) groups.set(classes[row]!, [row]);
    else group.push(row);
  }
  // In the order of the classes, not of their first rows.
  return [...groups].sort(([a], [b]) => a - b).map(([, rows]) => rows);
}
