import { discardBytes } from "./discard-bytes.js";
import { NamedValues } from "./named-values.js";
import { RawTensor } from "./raw-tensor.js";
import { isNumeric, type Tensor } from "./tensor.js";

/** Smaller tensors cost less as garbage. */
export const discardedFromBytes = 4096;

/**
 * Frees the memory of tensors that have it for themselves; they are empty afterwards. Those of a server carry hundreds of
 * megabytes a second: as garbage, each would be memory that the next one cannot have, and pages that are new to the
 * process cost several times what it takes to fill them. Views, strings and raw tensors are left alone.
 */
export function discardTensors(tensors: ReadonlyMap<string, Tensor>): void {
  const { items } = NamedValues.from(tensors);
  for (let index = 0; index < items.length; index++) discardTensor(items[index]!);
}

export function discardTensor(tensor: Tensor): void {
  if (!isNumeric(tensor) || tensor instanceof RawTensor) return;
  if (tensor.data.byteLength >= discardedFromBytes) discardBytes(tensor.data);
}
