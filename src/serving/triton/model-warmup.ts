import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Cancellation } from "../../cancellation.js";
import type { Signature } from "../../onnx/index.js";
import type { Session } from "../../runtime/index.js";
import { invalidArgument, StatusError } from "../../status.js";
import {
  decodeLengthPrefixed,
  elementCount,
  elementTypeInfo,
  numberToFloat16,
  type Shape,
  type Tensor,
  viewAs,
} from "../../tensor/index.js";
import { fileError } from "../file-error.js";
import type { TritonWarmup } from "./config-schema.js";
import { dtypeOf, type TritonModel } from "./triton-model.js";

/** Files of inputs lie here, in the model's directory. */
const warmupFolder = "warmup";
/** Bytes of one input of zeros or chance, at most. */
const maxInputBytes = 1024 * 1024 * 1024;

/**
 * Runs what model_warmup lists. A version whose warm-up fails is not served.
 * @throws INVALID_ARGUMENT for inputs that do not fit; what a run throws, with the warm-up's name in front
 */
export async function runModelWarmup(
  model: TritonModel,
  signature: Signature,
  session: Session,
  modelDirectory: string,
  cancellation: Cancellation,
): Promise<void> {
  const fetches = [...new Set([...signature.outputs.values()].map(({ name }) => name))];
  for (const warmup of model.config.model_warmup) {
    try {
      for (let times = Math.max(1, warmup.count); times > 0; times--) {
        // Made anew each time: a run may move its feeds' memory to another thread for good.
        const feeds = await feedsOf(warmup, model, signature, modelDirectory);
        await session.run(feeds, fetches, { cancellation });
      }
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      throw new StatusError(error.code, `config.pbtxt: model_warmup "${warmup.name}": ${error.message}`, {
        cause: error,
      });
    }
  }
}

async function feedsOf(
  warmup: TritonWarmup,
  { maxBatchSize, inputs }: TritonModel,
  signature: Signature,
  modelDirectory: string,
): Promise<ReadonlyMap<string, Tensor>> {
  const feeds = new Map<string, Tensor>();
  for (const [name, spec] of signature.inputs) {
    const input = warmup.inputs.get(name);
    if (input === undefined) throw invalidArgument(`input "${name}" is missing`);
    if (dtypeOf(input.data_type) !== spec.dtype) throw invalidArgument(`input "${name}" is not of type ${spec.dtype}`);
    const dims = input.dims.map(Number);
    const shown = [...(maxBatchSize > 0 ? [Math.max(1, warmup.batch_size)] : []), ...dims];
    const count = elementCount(shown);
    const { bytesPerElement } = elementTypeInfo(spec.dtype);
    if (count === undefined || count * Math.max(1, bytesPerElement) > maxInputBytes) {
      throw invalidArgument(`input "${name}": [${shown.join(",")}] is no shape that can be warmed up with`);
    }
    const file = input.input_data_file;
    const data =
      file === undefined
        ? madeUp(spec.dtype, count, input.random_data === true)
        : await fromFile(join(modelDirectory, warmupFolder), file, spec.dtype, count);
    const { reshape } = inputs?.find((tensor) => tensor.name === name) ?? {};
    feeds.set(spec.name, { dtype: spec.dtype, shape: reshapeTo(shown, reshape, maxBatchSize > 0), data });
  }
  return feeds;
}

/** Sizes that a warm-up leaves to reshape are all fixed but those that are open on both sides, in turn. */
function reshapeTo(shown: Shape, reshape: Shape | undefined, hasBatch: boolean): Shape {
  if (reshape === undefined) return shown;
  const batch = hasBatch ? shown.slice(0, 1) : [];
  const left = (elementCount(shown) ?? 0) / Math.max(1, batch[0] ?? 1);
  const fixed = reshape.reduce((product, size) => (size === -1 ? product : product * size), 1);
  return [...batch, ...reshape.map((size) => (size === -1 ? left / Math.max(1, fixed) : size))];
}

function madeUp(dtype: Tensor["dtype"], count: number, random: boolean): Tensor["data"] {
  const { array } = elementTypeInfo(dtype);
  if (array === undefined) return new Array<string>(count).fill(random ? "warmup" : "");
  const data = new array(count);
  if (!random) return data;
  const wide = dtype === "int64" || dtype === "uint64";
  for (let i = 0; i < count; i++) {
    const value = Math.random();
    if (dtype === "float32" || dtype === "float64") data[i] = value;
    else if (dtype === "float16") data[i] = numberToFloat16(value);
    else if (dtype === "bool") data[i] = value < 0.5 ? 0 : 1;
    else data[i] = (wide ? BigInt(Math.floor(value * 128)) : Math.floor(value * 128)) as never;
  }
  return data;
}

async function fromFile(folder: string, file: string, dtype: Tensor["dtype"], count: number): Promise<Tensor["data"]> {
  if (/[/\\\0]/.test(file) || file.startsWith(".")) throw invalidArgument(`"${file}" is no file in ${warmupFolder}/`);
  let bytes: Buffer;
  try {
    const path = join(folder, file);
    if ((await stat(path)).size > maxInputBytes) throw invalidArgument(`${path} is larger than an input can be`);
    bytes = await readFile(path);
  } catch (error) {
    throw fileError(error);
  }
  const { bytesPerElement } = elementTypeInfo(dtype);
  if (dtype === "string") {
    const elements = decodeLengthPrefixed(bytes, count);
    if (typeof elements === "string") throw invalidArgument(`${file}: ${elements}`);
    return elements.map((element) => Buffer.from(element).toString());
  }
  if (bytes.length !== count * bytesPerElement) {
    throw invalidArgument(`${file} has ${bytes.length} bytes; ${count * bytesPerElement} are needed`);
  }
  return viewAs(dtype, new Uint8Array(bytes));
}
