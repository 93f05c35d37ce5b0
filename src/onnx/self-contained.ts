// A model file as a trainer wants it: all its weights within, and in a form that the runtime takes.
import { open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type TensorProto, TensorProto_DataLocation } from "../gen/onnx/onnx.js";
import { errorMessage, failedPrecondition, invalidArgument, notFound } from "../status.js";
import { classLabelsOfOutputs } from "./class-labels.js";
import { decodeModel } from "./decode-model.js";
import { checkExternalData } from "./external-data.js";
import { readGraphInterface } from "./graph-interface.js";
import { tensorsOfModel } from "./graph-walk.js";
import type { ClassLabels } from "./model-description.js";
import { patchModel } from "./patch-model.js";
import { rewriteModel } from "./rewrites/rewrite-model.js";

export interface SelfContainedModel {
  readonly file: Uint8Array;
  /** By the name of an output whose last axis is one score a class. */
  readonly classLabels: ReadonlyMap<string, ClassLabels>;
}

// What protobuf can hold, and room for the rest of the file.
const maxBytes = 2 ** 31 - 2 ** 24;

/**
 * Reads a model file; weights that lie beside it are taken in.
 * Throws NOT_FOUND when it cannot be opened, INVALID_ARGUMENT when it is malformed, FAILED_PRECONDITION when it cannot
 * be one file: it is in onnxruntime's own format, or its weights are too large or stand within nodes.
 */
export async function readSelfContained(path: string): Promise<SelfContainedModel> {
  if (path.endsWith(".ort")) {
    throw failedPrecondition(
      "a model in onnxruntime's own format (.ort) cannot be trained; serve the .onnx it was made of",
    );
  }
  const given = await readBytes(path);
  const model = decodeModel(given);
  if (model.graph === undefined) throw invalidArgument("not an ONNX model: the file holds no graph");
  const metadata = new Map(model.metadataProps.map(({ key, value }) => [key, value]));
  // As it is served: what is no tensor there may become one.
  const rewritten = rewriteModel(model, model.graph);
  const { graph } = rewritten;
  const { outputs } = readGraphInterface(graph);
  const classLabels = new Map([...classLabelsOfOutputs({ graph, outputs, metadata }), ...rewritten.classLabels]);
  const externalBytes = await checkExternalData(model, path);
  if (externalBytes === undefined) return { file: given, classLabels };
  if (given.length + externalBytes > maxBytes) {
    throw failedPrecondition(
      `the model and its external weights have ${given.length + externalBytes} bytes; a trained model is one file of at most ${maxBytes}`,
    );
  }
  const outside = model.graph.initializer.filter(isExternal);
  const within = [...tensorsOfModel(model)].find((tensor) => isExternal(tensor) && !outside.includes(tensor));
  if (within !== undefined) {
    throw failedPrecondition(
      `external data of tensor "${within.name}" stand within a node; export the model as one file`,
    );
  }
  const replacedInitializers = new Map<string, TensorProto>();
  for (const tensor of outside) replacedInitializers.set(tensor.name, await takeIn(tensor, dirname(path)));
  return { file: patchModel(given, { replacedInitializers }), classLabels };
}

/** The file as it is served: what the runtime does not take is rewritten, as it is when a model is loaded. */
export function rewriteForRuntime(file: Uint8Array): Uint8Array {
  const model = decodeModel(file);
  if (model.graph === undefined) throw invalidArgument("not an ONNX model: the file holds no graph");
  const { patch } = rewriteModel(model, model.graph);
  return patch === undefined ? file : patchModel(file, patch);
}

const isExternal = ({ dataLocation, externalData }: TensorProto): boolean =>
  dataLocation === TensorProto_DataLocation.EXTERNAL || externalData.length > 0;

/** checkExternalData() has found the location within the model's folder, and long enough. */
async function takeIn(tensor: TensorProto, folder: string): Promise<TensorProto> {
  const entries = new Map(tensor.externalData.map(({ key, value }) => [key, value]));
  const file = await open(join(folder, entries.get("location")!));
  try {
    const offset = Number(entries.get("offset") ?? 0);
    const length = entries.has("length") ? Number(entries.get("length")) : (await file.stat()).size - offset;
    const rawData = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await file.read(rawData, done, length - done, offset + done);
      if (bytesRead === 0) throw invalidArgument(`external data of tensor "${tensor.name}" end early`);
      done += bytesRead;
    }
    return { ...tensor, dataLocation: TensorProto_DataLocation.DEFAULT, externalData: [], rawData };
  } finally {
    await file.close();
  }
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    const file = await open(path);
    try {
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    throw notFound(`the model file cannot be read: ${errorMessage(error)}`, { cause: error });
  }
}
