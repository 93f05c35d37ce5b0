import { errorMessage, internal, invalidArgument } from "../status.js";
import { elementTypeOfOpenInference, type Tensor } from "../tensor/index.js";
import { type CallOptions, type ClientOptions, resolveClientOptions } from "./client-options.js";
import { HttpChannel, type HttpResponse } from "./http-channel.js";
import {
  InputEncoder,
  type Inputs,
  type ModelClient,
  type ModelMetadata,
  type ModelSummary,
  type Prediction,
  record,
  type TensorDescription,
  type VersionOptions,
  type VersionStatus,
} from "./model-client.js";
import type { InferOptions } from "./open-inference-client.js";
import {
  metadataOfOpenInference,
  refuseLabel,
  statusOfModel,
  summariesOf,
  versionText,
} from "./open-inference-model.js";
import { datatypeOf, rawBytesOf, tensorOfElements, tensorOfRawBytes } from "./open-inference-tensor.js";
import { restTarget } from "./target.js";

/**
 * Speaks the Open Inference Protocol over REST, for networks that let no gRPC through. Tensors travel as binary data,
 * so that every element type arrives as it was sent.
 */
export class OpenInferenceRestClient implements ModelClient {
  readonly #channel: HttpChannel;
  readonly #encoder = new InputEncoder((model, options) => this.metadata(model, options));

  /** @param target "http://host:port" or "https://host:port" */
  constructor(target: string, options: ClientOptions = {}) {
    const { url, tls } = restTarget(target);
    this.#channel = new HttpChannel(url, resolveClientOptions(options, tls));
  }

  predict(model: string, inputs: Inputs, options: InferOptions = {}): Promise<Prediction> {
    return this.#encoder.call(model, inputs, options, async (tensors) => {
      const { head, blobs } = inferBody(tensors, options);
      const response = await this.#channel.call(
        {
          method: "POST",
          path: `${modelPath(model, options)}/infer`,
          headers: {
            "content-type": "application/octet-stream",
            "inference-header-content-length": String(head.length),
          },
          body: [head, ...blobs],
        },
        options,
      );
      return decodeResponse(response);
    });
  }

  async metadata(model: string, options: VersionOptions = {}): Promise<ModelMetadata> {
    const { name, versions = [], inputs, outputs } = (await this.#get(modelPath(model, options), options)) as Metadata;
    return metadataOfOpenInference(name, versions, describe(inputs), describe(outputs));
  }

  async status(model: string, options: VersionOptions = {}): Promise<readonly VersionStatus[]> {
    refuseLabel(options);
    return statusOfModel(await this.models(options), model, options);
  }

  async models(options: CallOptions = {}): Promise<readonly ModelSummary[]> {
    const request = { method: "POST", path: "/v2/repository/index", body: [Buffer.from("{}")] } as const;
    return summariesOf(
      parseJson((await this.#channel.call(request, options)).body) as Parameters<typeof summariesOf>[0],
    );
  }

  /** Whether the server answers at all. */
  async serverLive(options: CallOptions = {}): Promise<boolean> {
    return (await this.#channel.probe("/v2/health/live", options)) === 200;
  }

  async serverReady(options: CallOptions = {}): Promise<boolean> {
    return (await this.#channel.probe("/v2/health/ready", options)) === 200;
  }

  /** False also for a model that is not known. */
  async modelReady(model: string, options: VersionOptions = {}): Promise<boolean> {
    return (await this.#channel.probe(`${modelPath(model, options)}/ready`, options)) === 200;
  }

  close(): void {
    this.#channel.close();
  }

  async #get(path: string, options: CallOptions): Promise<unknown> {
    return parseJson((await this.#channel.call({ method: "GET", path }, options)).body);
  }
}

interface Metadata {
  readonly name: string;
  readonly versions?: readonly string[];
  readonly inputs: readonly JsonTensor[];
  readonly outputs: readonly JsonTensor[];
}
interface JsonTensor {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly parameters?: { readonly binary_data_size?: number };
  readonly data?: readonly unknown[];
}

function modelPath(model: string, options: VersionOptions): string {
  const version = versionText(options);
  return `/v2/models/${encodeURIComponent(model)}${version === "" ? "" : `/versions/${version}`}`;
}

function inferBody(tensors: ReadonlyMap<string, Tensor>, options: InferOptions) {
  const blobs = [...tensors.values()].map(rawBytesOf);
  const { id, parameters = {}, outputs = [], classification = {} } = options;
  const wanted = new Set([...outputs, ...Object.keys(classification)]);
  const json = {
    ...(id !== undefined && { id }),
    parameters: { ...jsonParameters(parameters), binary_data_output: true },
    inputs: [...tensors].map(([name, tensor], index) => ({
      name,
      datatype: datatypeOf(name, tensor),
      shape: tensor.shape,
      parameters: { binary_data_size: blobs[index]!.length },
    })),
    ...(wanted.size > 0 && {
      outputs: [...wanted].map((name) => ({
        name,
        parameters: {
          binary_data: true,
          ...(Object.hasOwn(classification, name) && { classification: classification[name] }),
        },
      })),
    }),
  };
  return { head: Buffer.from(JSON.stringify(json)), blobs };
}

function jsonParameters(parameters: NonNullable<InferOptions["parameters"]>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(parameters).map(([key, value]) => {
      if (typeof value !== "bigint") return [key, value];
      if (!Number.isSafeInteger(Number(value))) {
        throw invalidArgument(
          `parameter "${key}": ${value} cannot be written as a JSON number that every reader keeps`,
        );
      }
      return [key, Number(value)];
    }),
  );
}

function decodeResponse({ headers, body }: HttpResponse): Prediction {
  const given = headers["inference-header-content-length"];
  const headLength = given === undefined ? body.length : Number(given);
  if (!Number.isInteger(headLength) || headLength < 0 || headLength > body.length) {
    throw internal(`the server's answer has ${body.length} bytes and says that ${given} of them are JSON`);
  }
  const json = parseJson(body.subarray(0, headLength)) as {
    readonly model_name: string;
    readonly model_version?: string;
    readonly outputs?: readonly JsonTensor[];
  };
  let position = headLength;
  const outputs = (json.outputs ?? []).map(({ name, datatype, shape, parameters, data = [] }) => {
    const size = parameters?.binary_data_size;
    if (size === undefined) return [name, tensorOfElements(name, datatype, shape, data)] as const;
    const bytes = body.subarray(position, position + size);
    position += size;
    return [name, tensorOfRawBytes(name, datatype, shape, bytes)] as const;
  });
  return {
    outputs: record(outputs),
    model: json.model_name,
    version: /^\d+$/.test(json.model_version ?? "") ? BigInt(json.model_version!) : undefined,
  };
}

function describe(tensors: readonly JsonTensor[]): readonly (readonly [string, TensorDescription])[] {
  return tensors.map(({ name, datatype, shape }) => [
    name,
    { dtype: elementTypeOfOpenInference(datatype)?.name, shape },
  ]);
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString());
  } catch (thrown) {
    throw internal(`the server's answer is not JSON: ${errorMessage(thrown)}`, { cause: thrown });
  }
}
