import type { ElementType, Tensor } from "../../tensor/index.js";

/** What a probe learned of one value of a graph. */
export interface ValueInfo {
  readonly dtype: ElementType;
  /** Sizes in the probe's run. */
  readonly shape: readonly number[];
  /** By axis: whether the size follows the batch, so that only a run can tell it. */
  readonly followsBatch: readonly boolean[];
  /** The value itself, where it is the same in every run: constants, and what is computed from fixed shapes. */
  readonly known?: Tensor | undefined;
}

/** By value name. */
export type ValueInfos = ReadonlyMap<string, ValueInfo>;

export const isStatic = ({ followsBatch }: ValueInfo): boolean => !followsBatch.includes(true);
