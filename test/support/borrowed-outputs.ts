import assert from "node:assert/strict";
import { neverCancelled } from "../../src/cancellation.js";
import { type RunOptions, type Session, startRun } from "../../src/runtime/index.js";
import {
  bytesOf,
  elementTypeInfo,
  isNumeric,
  type NumericData,
  RawTensor,
  type Tensor,
} from "../../src/tensor/index.js";
import { promiseOf } from "../../src/waiter.js";

export interface Borrowed {
  /** The output as it was seen when its waiter was told. */
  readonly seen: Tensor;
  /** The same tensor, to be looked at later. */
  readonly kept: Tensor;
}

/** Runs with outputs that are borrowed, and copies output y in time. */
export function borrow(session: Session, x: Tensor, options: Partial<RunOptions> = {}): Promise<Borrowed> {
  return promiseOf((waiter) => {
    const all = { cancellation: neverCancelled, feedsMayBeTaken: true, outputsAreBorrowed: true, ...options };
    startRun(session, new Map([["x", x]]), ["y"], all, {
      resolve: ({ outputs }) => {
        const kept = outputs.get("y")!;
        waiter.resolve({ kept, seen: { ...kept, data: kept.data.slice() as NumericData | string[] } });
      },
      reject: (error) => waiter.reject(error),
    });
  });
}

/** Elements whose bytes are different for each seed; bool's are 0 and 1. */
export function filled(dtype: Tensor["dtype"], bytes: number, seed: number): Tensor & { readonly data: NumericData } {
  const { array, bytesPerElement } = elementTypeInfo(dtype);
  const data = new array!(Math.floor(bytes / bytesPerElement));
  const raw = bytesOf(data);
  for (let at = 0; at < raw.length; at++)
    raw[at] = dtype === "bool" ? (at + seed) & 1 : (at * 31 + (at >> 8) + seed) & 63;
  return { dtype, shape: [data.length], data };
}

/** As a request carries it: somewhere in a message, at an odd address. */
export function raw({ dtype, shape, data }: Tensor & { readonly data: NumericData }): RawTensor {
  const message = new Uint8Array(data.byteLength + 7);
  message.set(bytesOf(data), 3);
  return new RawTensor(dtype, shape, message, 3, data.length);
}

export function assertSame(actual: Tensor, expected: Tensor): void {
  assert.equal(actual.dtype, expected.dtype);
  assert.deepEqual(actual.shape, expected.shape);
  if (isNumeric(actual) && isNumeric(expected))
    assert.ok(Buffer.from(bytesOf(actual.data)).equals(bytesOf(expected.data)));
  else assert.deepEqual(actual.data, expected.data);
}
