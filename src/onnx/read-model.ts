import { open } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { errorMessage, invalidArgument, notFound } from "../status.js";
import { discardBytes } from "../tensor/index.js";
import { proveBatchAxis } from "./batch-axis/prove-batch-axis.js";
import { classLabelsOfOutputs } from "./class-labels.js";
import { decodeModel } from "./decode-model.js";
import { reasonAgainstEmptyTensors } from "./empty-tensors.js";
import { checkExternalData } from "./external-data.js";
import { readGraphInterface } from "./graph-interface.js";
import { operatorsOfModel } from "./graph-walk.js";
import type { ModelDescription } from "./model-description.js";
import { patchModel } from "./patch-model.js";
import { rewriteModel } from "./rewrites/rewrite-model.js";

/** A model file, read. */
export type ReadModel =
  | {
      readonly format: "onnx";
      readonly description: ModelDescription;
      /**
       * The file as rewritten; undefined when it needed no rewriting: then the session is made from the path, so that
       * the runtime maps external data into memory instead of reading it.
       */
      readonly bytes: Uint8Array | undefined;
      /**
       * Where a session made from `bytes` finds external data: onnxruntime's session configuration entry
       * "session.model_external_initializers_file_folder_path". undefined when there is none to find.
       */
      readonly externalDataFolder: string | undefined;
      /** The types of all nodes, as in the file: "MatMul" for ONNX's own, "ai.onnx.ml:Scaler" for those of other domains. */
      readonly operators: ReadonlySet<string>;
    }
  /** onnxruntime's own format: only a session can tell what it takes and gives; see describeOrtModel(). */
  | { readonly format: "ort"; readonly sizeBytes: number };

export interface ReadLimits {
  /** Size of the model file itself. Default 2 GiB - 1, what protobuf can hold; weights beyond that are external data. */
  readonly maxFileBytes?: number;
}

/**
 * Reads a model file, checks that it can be served, and rewrites what the runtime here cannot return. To be called off
 * the serving thread: decoding blocks.
 *
 * Throws INVALID_ARGUMENT with the reason when the file is malformed or asks for what cannot be served; NOT_FOUND when
 * it cannot be opened.
 */
export async function readModel(path: string, limits: ReadLimits = {}): Promise<ReadModel> {
  const file = await readFile(path, limits.maxFileBytes ?? 2 ** 31 - 1);
  try {
    return path.endsWith(".ort") ? readOrtModel(file) : await readOnnxModel(file, path);
  } finally {
    discardBytes(file);
  }
}

async function readOnnxModel(file: Uint8Array, path: string): Promise<ReadModel> {
  const model = decodeModel(file);
  if (model.graph === undefined) throw invalidArgument("not an ONNX model: the file holds no graph");
  const externalBytes = await checkExternalData(model, path);
  const { graph, operatorSets, patch, sentences, classLabels } = rewriteModel(model, model.graph);
  const { inputs, outputs } = readGraphInterface(graph);
  const metadata = new Map(model.metadataProps.map(({ key, value }) => [key, value]));
  const description: ModelDescription = {
    inputs,
    outputs,
    metadata,
    producer: `${model.producerName} ${model.producerVersion}`.trim(),
    operatorSets: model.opsetImport.map(({ domain, version }) => ({ domain, version: Number(version) })),
    rewrites: sentences,
    classLabels: new Map([...classLabelsOfOutputs({ graph, outputs, metadata }), ...classLabels]),
    batching: proveBatchAxis({ graph, operatorSets, inputs, outputs }),
    refusesEmptyTensors: reasonAgainstEmptyTensors(graph),
    sizeBytes: file.byteLength + (externalBytes ?? 0),
  };
  const operators = new Set(operatorsOfModel(model));
  if (patch === undefined) {
    return { format: "onnx", description, bytes: undefined, externalDataFolder: undefined, operators };
  }
  const externalDataFolder = externalBytes === undefined ? undefined : resolve(dirname(path));
  return { format: "onnx", description, bytes: patchModel(file, patch), externalDataFolder, operators };
}

async function readFile(path: string, maxBytes: number): Promise<Uint8Array> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(path);
  } catch (error) {
    throw notFound(`the model file cannot be opened: ${errorMessage(error)}`, { cause: error });
  }
  try {
    const info = await file.stat();
    if (!info.isFile()) throw invalidArgument(`${path} is not a file`);
    if (info.size > maxBytes) {
      throw invalidArgument(
        `the model file has ${info.size} bytes; at most ${maxBytes} are read. Keep the weights as external data`,
      );
    }
    return await file.readFile();
  } finally {
    await file.close();
  }
}

function readOrtModel(file: Uint8Array): ReadModel {
  // A flatbuffer with this identifier; the file name alone makes the runtime read it as such.
  if (Buffer.from(file.subarray(4, 8)).toString("latin1") !== "ORTM") {
    throw invalidArgument("not a model in onnxruntime's format: the identifier ORTM is missing");
  }
  return { format: "ort", sizeBytes: file.byteLength };
}
