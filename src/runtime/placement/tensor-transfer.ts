// How tensors get to another thread. Their buffers can be moved, which leaves them empty here, or copied.
import {
  bytesOf,
  type ElementType,
  isNumeric,
  type NumericData,
  RawTensor,
  type Tensor,
  viewAs,
} from "../../tensor/index.js";

export interface Shipment {
  readonly tensors: ReadonlyMap<string, Tensor>;
  /** Buffers to be moved. */
  readonly transfer: ArrayBuffer[];
}

/** Below this size, letting postMessage copy costs less than moving a buffer. */
const smallBytes = 4096;

/**
 * Makes tensors fit to be posted. A view into a larger buffer, as a request's tensors mostly are, is copied here, once:
 * posting the view would copy all of the buffer, and moving the buffer would take it from others. So is shared memory,
 * which the runtime refuses, and so are raw tensors, which have no data before.
 * @param mayTake the caller gives whole buffers away
 */
export function shipTensors(tensors: ReadonlyMap<string, Tensor>, mayTake: boolean): Shipment {
  const transfer: ArrayBuffer[] = [];
  let changed: Map<string, Tensor> | undefined;
  for (const [name, tensor] of tensors) {
    if (!isNumeric(tensor)) continue;
    let copy: NumericData;
    if (tensor instanceof RawTensor) {
      copy = tensor.copy();
    } else {
      const data: NumericData = tensor.data;
      const whole = data.byteLength === data.buffer.byteLength && data.buffer instanceof ArrayBuffer;
      if (whole && data.byteLength < smallBytes) continue;
      if (whole && mayTake) {
        if (!transfer.includes(data.buffer as ArrayBuffer)) transfer.push(data.buffer as ArrayBuffer);
        continue;
      }
      // Also where postMessage could copy: it does so twice, into its message and out again.
      copy = copyOf(tensor.dtype, data);
    }
    if (copy.byteLength >= smallBytes) transfer.push(copy.buffer as ArrayBuffer);
    changed ??= new Map(tensors);
    changed.set(name, { dtype: tensor.dtype, shape: tensor.shape, data: copy });
  }
  // What is posted loses its class: a Map stays one.
  if (changed === undefined && !(tensors instanceof Map)) changed = new Map(tensors);
  return { tensors: changed ?? tensors, transfer };
}

/** As slice(), which fills the memory with zeros first. */
function copyOf(dtype: ElementType, data: NumericData): NumericData {
  const copy = Buffer.allocUnsafeSlow(data.byteLength);
  copy.set(bytesOf(data));
  return viewAs(dtype, copy);
}
