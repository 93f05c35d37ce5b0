import {
  GetModelRequest,
  ListModelsRequest,
  ListModelsResponse,
  Model,
  type ModelVersion,
  ModelVersion_State,
} from "../gen/onnxd/v1/catalog.js";
import type { TensorInfo } from "../gen/tensorflow/core/protobuf/meta_graph.js";
import {
  GetModelMetadataRequest,
  GetModelMetadataResponse,
  SignatureDefMap,
} from "../gen/tensorflow_serving/apis/get_model_metadata.js";
import {
  GetModelStatusRequest,
  GetModelStatusResponse,
  ModelVersionStatus_State,
} from "../gen/tensorflow_serving/apis/get_model_status.js";
import { ModelSpec } from "../gen/tensorflow_serving/apis/model.js";
import { PredictRequest, PredictResponse } from "../gen/tensorflow_serving/apis/predict.js";
import { internal, invalidArgument } from "../status.js";
import { elementTypeOfTensorflow } from "../tensor/index.js";
import { type CallOptions, type ClientOptions, resolveClientOptions } from "./client-options.js";
import { GrpcChannel, type Method } from "./grpc-channel.js";
import {
  defaultSignature,
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
  versionNumber,
} from "./model-client.js";
import { grpcTarget } from "./target.js";
import { decodeTensorProto, encodeTensorProto } from "./tensor-proto.js";

/** Speaks TensorFlow Serving's gRPC services, to onnxd and to TensorFlow Serving; models() is onnxd's own. */
export class TensorFlowServingClient implements ModelClient {
  readonly #channel: GrpcChannel;
  readonly #encoder = new InputEncoder((model, options) => this.metadata(model, options));

  /** @param target "host:port", "grpc://host:port", "grpcs://host:port" (TLS) or "unix:/path" */
  constructor(target: string, options: ClientOptions = {}) {
    const { address, tls } = grpcTarget(target);
    this.#channel = new GrpcChannel(address, resolveClientOptions(options, tls));
  }

  predict(model: string, inputs: Inputs, options: PredictOptions = {}): Promise<Prediction> {
    return this.#encoder.call(model, inputs, options, async (tensors) => {
      const response = await this.#channel.call(
        methods.predict,
        PredictRequest.create({
          modelSpec: modelSpec(model, options),
          inputs: new Map([...tensors].map(([name, tensor]) => [name, encodeTensorProto(tensor)])),
          outputFilter: [...(options.outputs ?? [])],
        }),
        options,
      );
      return {
        outputs: record([...response.outputs].map(([name, proto]) => [name, decodeTensorProto(name, proto)])),
        model: response.modelSpec?.name ?? model,
        version: versionOf(response.modelSpec),
      };
    });
  }

  async metadata(model: string, options: VersionOptions = {}): Promise<ModelMetadata> {
    const response = await this.#channel.call(
      methods.getModelMetadata,
      GetModelMetadataRequest.create({ modelSpec: modelSpec(model, options), metadataField: ["signature_def"] }),
      options,
    );
    const packed = response.metadata.get("signature_def");
    if (packed === undefined) throw internal(`the server's metadata of model "${model}" holds no signature_def`);
    const describe = (infos: ReadonlyMap<string, TensorInfo>) =>
      record([...infos].map(([name, info]) => [name, describeTensor(info)]));
    return {
      name: response.modelSpec?.name ?? model,
      version: versionOf(response.modelSpec),
      signatures: record(
        [...SignatureDefMap.decode(packed.value).signatureDef].map(([key, { inputs, outputs }]) => [
          key,
          { inputs: describe(inputs), outputs: describe(outputs) },
        ]),
      ),
    };
  }

  async status(model: string, options: VersionOptions = {}): Promise<readonly VersionStatus[]> {
    const { modelVersionStatus } = await this.#channel.call(
      methods.getModelStatus,
      GetModelStatusRequest.create({ modelSpec: modelSpec(model, options) }),
      options,
    );
    return modelVersionStatus.map(({ version, state, status }) => ({
      version,
      state: nameOf(ModelVersionStatus_State, state),
      error: status?.errorMessage ?? "",
      labels: [],
    }));
  }

  async models(options: CallOptions = {}): Promise<readonly ModelSummary[]> {
    return (await this.catalog(options)).map(({ name, versions }) => ({
      name,
      versions: versions.map((version) => ({
        version: version.version,
        state: nameOf(ModelVersion_State, version.state),
        error: version.errorMessage,
        labels: version.labels,
      })),
    }));
  }

  /** All models with all that onnxd knows of them: signatures, placement, batching, load time and more. */
  async catalog(options: CallOptions = {}): Promise<readonly CatalogModel[]> {
    const models: CatalogModel[] = [];
    let pageToken = "";
    do {
      const page = await this.#channel.call(
        methods.listModels,
        ListModelsRequest.create({ pageSize: 1000, pageToken }),
        options,
      );
      models.push(...page.models);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return models;
  }

  /** One model of the catalog. */
  model(name: string, options: CallOptions = {}): Promise<CatalogModel> {
    return this.#channel.call(methods.getModel, GetModelRequest.create({ name }), options);
  }

  close(): void {
    this.#channel.close();
  }
}

/** onnxd.v1.Model, as proto/onnxd/v1/catalog.proto documents it. */
export type CatalogModel = Model;
export type CatalogModelVersion = ModelVersion;

function method<Request, Response>(
  path: string,
  request: Method<Request, Response>["request"],
  response: Method<Request, Response>["response"],
): Method<Request, Response> {
  return { path, request, response };
}

const methods = {
  predict: method("/tensorflow.serving.PredictionService/Predict", PredictRequest, PredictResponse),
  getModelMetadata: method(
    "/tensorflow.serving.PredictionService/GetModelMetadata",
    GetModelMetadataRequest,
    GetModelMetadataResponse,
  ),
  getModelStatus: method(
    "/tensorflow.serving.ModelService/GetModelStatus",
    GetModelStatusRequest,
    GetModelStatusResponse,
  ),
  listModels: method("/onnxd.v1.CatalogService/ListModels", ListModelsRequest, ListModelsResponse),
  getModel: method("/onnxd.v1.CatalogService/GetModel", GetModelRequest, Model),
};

function modelSpec(name: string, options: PredictOptions): ModelSpec {
  const { version, label, signature } = options;
  if (version !== undefined && label !== undefined) {
    throw invalidArgument(`a call means version ${version} or label "${label}", not both`);
  }
  return ModelSpec.create({
    name,
    signatureName: signature === defaultSignature ? "" : (signature ?? ""),
    ...(version !== undefined && {
      versionChoice: { $case: "version" as const, value: versionNumber(version) },
    }),
    ...(label !== undefined && { versionChoice: { $case: "versionLabel" as const, value: label } }),
  });
}

function versionOf(spec: ModelSpec | undefined): bigint | undefined {
  return spec?.versionChoice?.$case === "version" ? spec.versionChoice.value : undefined;
}

function describeTensor({ dtype, tensorShape }: TensorInfo): TensorDescription {
  const open = tensorShape === undefined || tensorShape.unknownRank;
  return {
    dtype: elementTypeOfTensorflow(dtype)?.name,
    shape: open ? undefined : tensorShape.dim.map(({ size }) => Number(size)),
  };
}

function nameOf(names: Readonly<Record<string, number>>, value: number): string {
  return Object.entries(names).find(([, number]) => number === value)?.[0] ?? String(value);
}
