import {
  GetModelRequest,
  ListModelsRequest,
  ListModelsResponse,
  Model,
  type ModelVersion,
  ModelVersion_State,
  type Signature as SignatureMessage,
  type TensorSpec as TensorSpecMessage,
} from "../../gen/onnxd/v1/catalog.js";
import type { DataType } from "../../gen/tensorflow/core/framework/types.js";
import type { Signature, TensorSpec } from "../../onnx/index.js";
import type { ModelRepository, ModelStatus, VersionStatus } from "../../serving/index.js";
import { Code, invalidArgument, notFound } from "../../status.js";
import { elementTypeInfo } from "../../tensor/index.js";
import { originOf } from "../codecs/model-origin.js";
import type { Method, UnaryMethod } from "./service-table.js";

const service = "onnxd.v1.CatalogService";

/** onnxd.v1.CatalogService: what this server holds, read from the repository's own state. */
export function catalogService(repository: ModelRepository): Method[] {
  return [listModelsMethod(repository), getModelMethod(repository)];
}

const defaultPageSize = 100;
const maxPageSize = 1000;

function listModelsMethod(repository: ModelRepository): UnaryMethod<ListModelsRequest, ListModelsResponse> {
  return {
    kind: "unary",
    path: `/${service}/ListModels`,
    decode: (bytes) => ListModelsRequest.decode(bytes),
    encode: (response) => ListModelsResponse.encode(response).finish(),
    handle({ pageSize, pageToken }) {
      if (pageSize < 0) throw invalidArgument(`page_size must be 0 or more; got ${pageSize}`);
      const size = pageSize === 0 ? defaultPageSize : Math.min(pageSize, maxPageSize);
      const after = readPageToken(pageToken);
      const rest = after === undefined ? repository.listModels() : repository.listModels().filter(isAfter(after));
      const page = rest.slice(0, size);
      const nextPageToken = rest.length > size ? makePageToken(page.at(-1)!.name) : "";
      return { models: page.map(toModel), nextPageToken };
    },
  };
}

// A token is the last name of the page before: models that come and go in between change no other model's page.
const tokenPrefix = "after:";

function makePageToken(name: string): string {
  return Buffer.from(tokenPrefix + name).toString("base64url");
}

function readPageToken(token: string): string | undefined {
  if (token === "") return undefined;
  const text = Buffer.from(token, "base64url").toString();
  if (!text.startsWith(tokenPrefix)) throw invalidArgument("page_token is none that ListModels returned");
  return text.slice(tokenPrefix.length);
}

const isAfter =
  (name: string) =>
  (model: ModelStatus): boolean =>
    model.name > name;

function getModelMethod(repository: ModelRepository): UnaryMethod<GetModelRequest, Model> {
  return {
    kind: "unary",
    path: `/${service}/GetModel`,
    decode: (bytes) => GetModelRequest.decode(bytes),
    encode: (response) => Model.encode(response).finish(),
    handle({ name }, { record }) {
      record.model = name;
      if (name === "") throw invalidArgument("GetModelRequest has no name specified");
      const model = repository.getModel(name);
      if (model === undefined) throw notFound(`Model ${name} is neither configured nor remembered`);
      return toModel(model);
    },
  };
}

function toModel(model: ModelStatus): Model {
  return {
    name: model.name,
    basePath: model.basePath,
    configured: model.configured,
    versions: model.versions.map((version) => toModelVersion(version, model.labels)),
    labels: new Map(model.labels),
    defaultVersion: model.defaultVersion,
    sourceError: model.sourceError,
  };
}

function toModelVersion(status: VersionStatus, labels: ModelStatus["labels"]): ModelVersion {
  const { version, state, loaded, path } = status;
  const error = status.error ?? status.lastFailure;
  const description = loaded?.description;
  return {
    version,
    state: ModelVersion_State[state],
    errorCode: error?.code ?? Code.OK,
    errorMessage: error?.message ?? "",
    labels: [...labels].filter(([, labelled]) => labelled === version).map(([label]) => label),
    signatures: [...(loaded?.signatures.values() ?? [])].map(toSignature),
    platform: "onnx",
    sizeBytes: BigInt(description?.sizeBytes ?? 0),
    memoryBytes: BigInt(memoryBytes(status)),
    loadSeconds: loaded?.loadSeconds ?? 0,
    availableSince: loaded === undefined ? undefined : new Date(loaded.availableSince),
    placement: loaded && { ...loaded.placement, warmupRunMicros: loaded.placement.warmupRunMicros ?? 0 },
    batching: loaded && { ...loaded.batching },
    origin: originOf(path, description?.metadata),
    metadata: new Map(description?.metadata),
    producer: description?.producer ?? "",
    operatorSets: (description?.operatorSets ?? []).map((set) => ({
      domain: set.domain,
      version: BigInt(set.version),
    })),
  };
}

/** Nothing once the version has been unloaded. */
function memoryBytes({ state, loaded }: VersionStatus): number {
  if (loaded === undefined || (state !== "AVAILABLE" && state !== "UNLOADING")) return 0;
  return loaded.description.sizeBytes * loaded.placement.sessions;
}

function toSignature({ key, methodName, inputs, outputs }: Signature): SignatureMessage {
  return { name: key, methodName, inputs: [...inputs].map(toTensorSpec), outputs: [...outputs].map(toTensorSpec) };
}

function toTensorSpec([alias, { name, dtype, shape }]: readonly [string, TensorSpec]): TensorSpecMessage {
  return {
    name: alias,
    tensorName: name,
    dtype: elementTypeInfo(dtype).tensorflow as DataType,
    shape: (shape ?? []).map((size) => (typeof size === "number" ? BigInt(size) : -1n)),
    dimNames: (shape ?? []).map((size) => (typeof size === "string" ? size : "")),
    unknownRank: shape === undefined,
  };
}
