import {
  type InferParameter,
  type InferTensorContents,
  ModelConfigRequest,
  ModelConfigResponse,
  ModelInferRequest,
  ModelInferResponse,
  ModelMetadataRequest,
  ModelMetadataResponse,
  type ModelMetadataResponse_TensorMetadata,
  ModelReadyRequest,
  ModelReadyResponse,
  type ModelStatistics,
  ModelStatisticsRequest,
  ModelStatisticsResponse,
  ModelStreamInferResponse,
  RepositoryIndexRequest,
  RepositoryIndexResponse,
  RepositoryModelLoadRequest,
  RepositoryModelLoadResponse,
  RepositoryModelUnloadRequest,
  RepositoryModelUnloadResponse,
  ServerLiveRequest,
  ServerLiveResponse,
  ServerMetadataRequest,
  ServerMetadataResponse,
  ServerReadyRequest,
  ServerReadyResponse,
} from "../gen/inference/grpc_service.js";
import type { ModelConfig } from "../gen/inference/model_config.js";
import { type Code, internal, StatusError, unknown } from "../status.js";
import { elementTypeOfOpenInference, type Tensor } from "../tensor/index.js";
import { type CallOptions, type ClientOptions, resolveClientOptions } from "./client-options.js";
import { GrpcChannel, type Method } from "./grpc-channel.js";
import {
  InputEncoder,
  type Inputs,
  type ModelClient,
  type ModelMetadata,
  type ModelSummary,
  type Prediction,
  type PredictOptions,
  record,
  type TensorDescription,
  type VersionOptions,
  type VersionStatus,
} from "./model-client.js";
import {
  metadataOfOpenInference,
  refuseLabel,
  statusOfModel,
  summariesOf,
  versionText,
} from "./open-inference-model.js";
import { datatypeOf, rawBytesOf, tensorOfElements, tensorOfRawBytes } from "./open-inference-tensor.js";
import { grpcTarget } from "./target.js";

/** A parameter of a request; integers travel as int64. */
export type Parameter = boolean | bigint | number | string;

export interface InferOptions extends PredictOptions {
  /** Given back with the answer. */
  readonly id?: string;
  /** Of the request. */
  readonly parameters?: Readonly<Record<string, Parameter>>;
  /** By output: the answer holds the k best of it, as strings "value:index" or "value:index:label". */
  readonly classification?: Readonly<Record<string, number>>;
}

/** One of many requests of a stream. */
export interface StreamRequest extends Omit<InferOptions, "timeoutMs" | "signal" | "metadata"> {
  readonly model: string;
  readonly inputs: Inputs;
}

/** One answer of a stream: a prediction, or what became of the request in its place. */
export type StreamResult =
  | (Prediction & { readonly id: string; readonly error: undefined })
  | { readonly id: string; readonly model: string; readonly error: StatusError };

/** Speaks the Open Inference Protocol over gRPC, to onnxd, Triton, KServe's and MLServer's runtimes. */
export class OpenInferenceClient implements ModelClient {
  readonly #channel: GrpcChannel;
  readonly #encoder = new InputEncoder((model, options) => this.metadata(model, options));

  /** @param target "host:port", "grpc://host:port", "grpcs://host:port" (TLS) or "unix:/path" */
  constructor(target: string, options: ClientOptions = {}) {
    const { address, tls } = grpcTarget(target);
    this.#channel = new GrpcChannel(address, resolveClientOptions(options, tls));
  }

  predict(model: string, inputs: Inputs, options: InferOptions = {}): Promise<Prediction> {
    return this.#encoder.call(model, inputs, options, async (tensors) => {
      const request = inferRequest(model, tensors, options);
      return decodeResponse(await this.#channel.call(methods.modelInfer, request, options));
    });
  }

  /**
   * Many requests over one stream, answered in their order. A request that fails is answered in its place, with
   * `error`; the others go on. Requests are taken from the iterable only as fast as the server takes them.
   */
  async *predictStream(
    requests: AsyncIterable<StreamRequest> | Iterable<StreamRequest>,
    options: CallOptions = {},
  ): AsyncGenerator<StreamResult, void, undefined> {
    for await (const response of this.#channel.stream(methods.modelStreamInfer, this.#encoded(requests), options)) {
      const { errorMessage, inferResponse } = response;
      if (errorMessage === "") {
        if (inferResponse === undefined) throw internal("the server's stream holds an answer without content");
        yield { ...decodeResponse(inferResponse), id: inferResponse.id, error: undefined };
      } else {
        const code = inferResponse?.parameters.get(streamErrorCode)?.parameterChoice;
        const error =
          code?.$case === "int64Param"
            ? new StatusError(Number(code.value) as Code, errorMessage)
            : unknown(errorMessage);
        yield { id: inferResponse?.id ?? "", model: inferResponse?.modelName ?? "", error };
      }
    }
  }

  async *#encoded(requests: AsyncIterable<StreamRequest> | Iterable<StreamRequest>) {
    for await (const { model, inputs, ...options } of requests) {
      yield await this.#encoder.call(model, inputs, options, async (tensors) => inferRequest(model, tensors, options));
    }
  }

  async metadata(model: string, options: VersionOptions = {}): Promise<ModelMetadata> {
    const request = ModelMetadataRequest.create({ name: model, version: versionText(options) });
    const { name, versions, inputs, outputs } = await this.#channel.call(methods.modelMetadata, request, options);
    return metadataOfOpenInference(name, versions, describe(inputs), describe(outputs));
  }

  async status(model: string, options: VersionOptions = {}): Promise<readonly VersionStatus[]> {
    refuseLabel(options);
    return statusOfModel(await this.models(options), model, options);
  }

  async models(options: CallOptions = {}): Promise<readonly ModelSummary[]> {
    const request = RepositoryIndexRequest.create({});
    return summariesOf((await this.#channel.call(methods.repositoryIndex, request, options)).models);
  }

  async serverLive(options: CallOptions = {}): Promise<boolean> {
    return (await this.#channel.call(methods.serverLive, ServerLiveRequest.create({}), options)).live;
  }

  async serverReady(options: CallOptions = {}): Promise<boolean> {
    return (await this.#channel.call(methods.serverReady, ServerReadyRequest.create({}), options)).ready;
  }

  /** Throws NOT_FOUND for a model that is not known, and UNAVAILABLE for one that is not ready, as onnxd and Triton answer. */
  async modelReady(model: string, options: VersionOptions = {}): Promise<boolean> {
    const request = ModelReadyRequest.create({ name: model, version: versionText(options) });
    return (await this.#channel.call(methods.modelReady, request, options)).ready;
  }

  async serverMetadata(
    options: CallOptions = {},
  ): Promise<{ readonly name: string; readonly version: string; readonly extensions: readonly string[] }> {
    const { name, version, extensions } = await this.#channel.call(
      methods.serverMetadata,
      ServerMetadataRequest.create({}),
      options,
    );
    return { name, version, extensions };
  }

  /** inference.ModelConfig, as proto/inference/model_config.proto documents it. */
  async modelConfig(model: string, options: VersionOptions = {}): Promise<ModelConfig> {
    const request = ModelConfigRequest.create({ name: model, version: versionText(options) });
    const { config } = await this.#channel.call(methods.modelConfig, request, options);
    if (config === undefined) throw internal(`the server's configuration of model "${model}" is empty`);
    return config;
  }

  /** inference.ModelStatistics of one model, or of all when the name is "". */
  async statistics(model = "", options: VersionOptions = {}): Promise<readonly ModelStatistics[]> {
    const request = ModelStatisticsRequest.create({ name: model, version: versionText(options) });
    return (await this.#channel.call(methods.modelStatistics, request, options)).modelStats;
  }

  /** Loads a model of the repository, or loads it anew; resolves when it is ready. */
  async loadModel(model: string, options: CallOptions = {}): Promise<void> {
    await this.#channel.call(methods.load, RepositoryModelLoadRequest.create({ modelName: model }), options);
  }

  async unloadModel(model: string, options: CallOptions = {}): Promise<void> {
    await this.#channel.call(methods.unload, RepositoryModelUnloadRequest.create({ modelName: model }), options);
  }

  close(): void {
    this.#channel.close();
  }
}

/** Where onnxd puts a failed request's status code, which the protocol's own message has no field for. */
const streamErrorCode = "onnxd_error_code";

function method<Request, Response>(
  name: string,
  request: Method<Request, Response>["request"],
  response: Method<Request, Response>["response"],
): Method<Request, Response> {
  return { path: `/inference.GRPCInferenceService/${name}`, request, response };
}

const methods = {
  serverLive: method("ServerLive", ServerLiveRequest, ServerLiveResponse),
  serverReady: method("ServerReady", ServerReadyRequest, ServerReadyResponse),
  modelReady: method("ModelReady", ModelReadyRequest, ModelReadyResponse),
  serverMetadata: method("ServerMetadata", ServerMetadataRequest, ServerMetadataResponse),
  modelMetadata: method("ModelMetadata", ModelMetadataRequest, ModelMetadataResponse),
  modelInfer: method("ModelInfer", ModelInferRequest, ModelInferResponse),
  modelStreamInfer: method("ModelStreamInfer", ModelInferRequest, ModelStreamInferResponse),
  modelConfig: method("ModelConfig", ModelConfigRequest, ModelConfigResponse),
  modelStatistics: method("ModelStatistics", ModelStatisticsRequest, ModelStatisticsResponse),
  repositoryIndex: method("RepositoryIndex", RepositoryIndexRequest, RepositoryIndexResponse),
  load: method("RepositoryModelLoad", RepositoryModelLoadRequest, RepositoryModelLoadResponse),
  unload: method("RepositoryModelUnload", RepositoryModelUnloadRequest, RepositoryModelUnloadResponse),
};

function inferRequest(
  model: string,
  tensors: ReadonlyMap<string, Tensor>,
  options: Omit<InferOptions, "metadata">,
): ModelInferRequest {
  const classification = new Map(Object.entries(options.classification ?? {}));
  // What is to be classified is wanted.
  const wanted = new Set([...(options.outputs ?? []), ...classification.keys()]);
  return ModelInferRequest.create({
    modelName: model,
    modelVersion: versionText(options),
    id: options.id ?? "",
    parameters: new Map(Object.entries(options.parameters ?? {}).map(([key, value]) => [key, parameter(value)])),
    inputs: [...tensors].map(([name, tensor]) => ({
      name,
      datatype: datatypeOf(name, tensor),
      shape: tensor.shape.map(BigInt),
    })),
    rawInputContents: [...tensors.values()].map(rawBytesOf),
    outputs: [...wanted].map((name) => ({
      name,
      parameters: new Map(
        classification.has(name) ? [["classification", parameter(BigInt(classification.get(name)!))]] : [],
      ),
    })),
  });
}

function parameter(value: Parameter): InferParameter {
  switch (typeof value) {
    case "boolean":
      return { parameterChoice: { $case: "boolParam", value } };
    case "bigint":
      return { parameterChoice: { $case: "int64Param", value } };
    case "number":
      return Number.isSafeInteger(value)
        ? { parameterChoice: { $case: "int64Param", value: BigInt(value) } }
        : { parameterChoice: { $case: "doubleParam", value } };
    default:
      return { parameterChoice: { $case: "stringParam", value } };
  }
}

function decodeResponse(response: ModelInferResponse): Prediction {
  const { outputs, rawOutputContents } = response;
  return {
    outputs: record(
      outputs.map(({ name, datatype, shape, contents }, index) => [
        name,
        rawOutputContents.length > 0
          ? tensorOfRawBytes(name, datatype, shape, requireRaw(name, rawOutputContents[index]))
          : tensorOfElements(name, datatype, shape, typedContents(datatype, contents)),
      ]),
    ),
    model: response.modelName,
    version: /^\d+$/.test(response.modelVersion) ? BigInt(response.modelVersion) : undefined,
  };
}

function requireRaw(name: string, bytes: Uint8Array | undefined): Uint8Array {
  if (bytes === undefined) throw internal(`the server's answer has no raw contents for output "${name}"`);
  return bytes;
}

function typedContents(datatype: string, contents: InferTensorContents | undefined): readonly unknown[] {
  if (contents === undefined) return [];
  switch (datatype) {
    case "BOOL":
      return contents.boolContents;
    case "INT8":
    case "INT16":
    case "INT32":
      return contents.intContents;
    case "INT64":
      return contents.int64Contents;
    case "UINT8":
    case "UINT16":
    case "UINT32":
      return contents.uintContents;
    case "UINT64":
      return contents.uint64Contents;
    case "FP32":
      return contents.fp32Contents;
    case "FP64":
      return contents.fp64Contents;
    case "BYTES":
      return contents.bytesContents.map((bytes) => Buffer.from(bytes).toString());
    default:
      return [];
  }
}

function describe(
  tensors: readonly ModelMetadataResponse_TensorMetadata[],
): readonly (readonly [string, TensorDescription])[] {
  return tensors.map(({ name, datatype, shape }) => [
    name,
    { dtype: elementTypeOfOpenInference(datatype)?.name, shape: shape.map(Number) },
  ]);
}
