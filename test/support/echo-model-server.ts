import {
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import {
  type GRPCInferenceServiceServer,
  GRPCInferenceServiceService,
  type ModelInferRequest,
  ModelInferResponse,
  ModelMetadataResponse,
  ModelReadyResponse,
  ModelStreamInferResponse,
  RepositoryIndexResponse,
  ServerLiveResponse,
} from "../gen/inference/grpc_service.js";
import {
  type CatalogServiceServer,
  CatalogServiceService,
  ListModelsResponse,
  ModelVersion_State,
} from "../gen/onnxd/v1/catalog.js";
import { SignatureDef } from "../gen/tensorflow/core/protobuf/meta_graph.js";
import { GetModelMetadataResponse, SignatureDefMap } from "../gen/tensorflow_serving/apis/get_model_metadata.js";
import { GetModelStatusResponse, ModelVersionStatus_State } from "../gen/tensorflow_serving/apis/get_model_status.js";
import { type ModelServiceServer, ModelServiceService } from "../gen/tensorflow_serving/apis/model_service.js";
import { PredictResponse } from "../gen/tensorflow_serving/apis/predict.js";
import {
  type PredictionServiceServer,
  PredictionServiceService,
} from "../gen/tensorflow_serving/apis/prediction_service.js";

/** What a call is answered with before the echo: a refusal, or nothing. */
export type Refusal = { readonly code: number; readonly details: string } | undefined;

/**
 * A gRPC server of both protocols, made of grpc-js and stubs that the code under test does not use. Its one model, "echo",
 * gives back each input as an output of the same name, and declares input x of int64.
 */
export class EchoModelServer implements AsyncDisposable {
  /** "/package.Service/Method" of every call, in order. */
  readonly calls: string[] = [];
  /** The metadata of the last call. */
  metadata = new Metadata();
  /** Taken from the front, one a call. */
  readonly refusals: Refusal[] = [];
  /** Predict never answers. */
  hangs = false;
  /** Set when a hanging call was cancelled. */
  cancelled: Promise<void> = Promise.resolve();
  readonly #server = new Server({ "grpc.max_receive_message_length": -1 });
  #port = 0;

  static async start(credentials = ServerCredentials.createInsecure()): Promise<EchoModelServer> {
    const echo = new EchoModelServer();
    echo.#serve();
    echo.#port = await new Promise<number>((resolve, reject) =>
      echo.#server.bindAsync("127.0.0.1:0", credentials, (error, port) => (error ? reject(error) : resolve(port))),
    );
    return echo;
  }

  get target(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.forceShutdown();
  }

  #unary<Request, Response>(answer: (request: Request) => Response): handleUnaryCall<Request, Response> {
    return (call: ServerUnaryCall<Request, Response>, callback) => {
      this.calls.push(call.getPath());
      this.metadata = call.metadata;
      const refusal = this.refusals.shift();
      if (refusal !== undefined) callback(refusal);
      else if (this.hangs) this.cancelled = new Promise((resolve) => call.once("cancelled", () => resolve()));
      else callback(null, answer(call.request));
    };
  }

  #serve(): void {
    const server = this.#server;
    server.addService(PredictionServiceService, {
      predict: this.#unary(({ modelSpec, inputs, outputFilter }) =>
        PredictResponse.fromPartial({
          modelSpec: {
            ...modelSpec,
            versionChoice: { $case: "version", value: (modelSpec?.versionChoice?.value as bigint) ?? 7n },
          },
          outputs: new Map([...inputs].filter(([name]) => outputFilter.length === 0 || outputFilter.includes(name))),
        } as PredictResponse),
      ),
      getModelMetadata: this.#unary(({ modelSpec }) =>
        GetModelMetadataResponse.fromPartial({
          modelSpec: { name: modelSpec!.name, versionChoice: { $case: "version", value: 7n } },
          metadata: new Map([
            [
              "signature_def",
              {
                typeUrl: "type.googleapis.com/tensorflow.serving.SignatureDefMap",
                value: Buffer.from(
                  SignatureDefMap.encode(
                    SignatureDefMap.fromPartial({
                      signatureDef: new Map([
                        [
                          "serving_default",
                          SignatureDef.fromPartial({
                            inputs: new Map([
                              [
                                "x",
                                {
                                  dtype: 9,
                                  tensorShape: {
                                    dim: [
                                      { size: -1n, name: "" },
                                      { size: 2n, name: "" },
                                    ],
                                  },
                                },
                              ],
                              ["any", { dtype: 7, tensorShape: { unknownRank: true } }],
                            ]) as never,
                          }),
                        ],
                      ]),
                    }),
                  ).finish(),
                ),
              },
            ],
          ]),
        } as GetModelMetadataResponse),
      ),
    } satisfies Partial<PredictionServiceServer> as UntypedServiceImplementation);
    server.addService(ModelServiceService, {
      getModelStatus: this.#unary(() =>
        GetModelStatusResponse.fromPartial({
          modelVersionStatus: [
            { version: 8n, state: ModelVersionStatus_State.END, status: { errorCode: 3, errorMessage: "bad file" } },
            { version: 7n, state: ModelVersionStatus_State.AVAILABLE },
          ],
        }),
      ),
    } satisfies Partial<ModelServiceServer> as UntypedServiceImplementation);
    server.addService(CatalogServiceService, {
      // Two pages, one model each.
      listModels: this.#unary(({ pageToken }) =>
        ListModelsResponse.fromPartial(
          pageToken === ""
            ? {
                models: [
                  {
                    name: "echo",
                    versions: [{ version: 7n, state: ModelVersion_State.AVAILABLE, labels: ["stable"] }],
                  },
                ],
                nextPageToken: "2",
              }
            : { models: [{ name: "other" }] },
        ),
      ),
    } satisfies Partial<CatalogServiceServer> as UntypedServiceImplementation);
    server.addService(GRPCInferenceServiceService, {
      serverLive: this.#unary(() => ServerLiveResponse.fromPartial({ live: true })),
      modelReady: this.#unary(() => ModelReadyResponse.fromPartial({ ready: true })),
      modelMetadata: this.#unary(({ name }) =>
        ModelMetadataResponse.fromPartial({
          name,
          versions: ["7", "12"],
          inputs: [{ name: "x", datatype: "INT64", shape: [-1n, 2n] }],
        }),
      ),
      modelInfer: this.#unary((request) => echoOf(request)),
      modelStreamInfer: (call) => {
        this.calls.push(call.getPath());
        call.on("data", (request: ModelInferRequest) => {
          if (request.modelName === "echo")
            call.write(ModelStreamInferResponse.fromPartial({ inferResponse: echoOf(request) }));
          else {
            call.write(
              ModelStreamInferResponse.fromPartial({
                errorMessage: `Request for unknown model: '${request.modelName}' is not found`,
                inferResponse: {
                  id: request.id,
                  modelName: request.modelName,
                  parameters: new Map([
                    ["onnxd_error_code", { parameterChoice: { $case: "int64Param", value: 5n } }],
                  ]) as never,
                },
              }),
            );
          }
        });
        call.on("end", () => call.end());
      },
      repositoryIndex: this.#unary(() =>
        RepositoryIndexResponse.fromPartial({
          models: [
            { name: "echo", version: "7", state: "READY" },
            { name: "echo", version: "6", state: "UNAVAILABLE", reason: "unloaded" },
            { name: "never_loaded" },
          ],
        }),
      ),
    } satisfies Partial<GRPCInferenceServiceServer> as UntypedServiceImplementation);
  }
}

function echoOf(request: ModelInferRequest): ModelInferResponse {
  return ModelInferResponse.fromPartial({
    modelName: request.modelName,
    modelVersion: request.modelVersion || "7",
    id: request.id,
    outputs: request.inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
    rawOutputContents: request.rawInputContents,
  });
}
