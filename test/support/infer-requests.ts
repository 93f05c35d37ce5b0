// Requests of the Open Inference Protocol, made with code that the server does not use.
import {
  type InferParameter,
  InferTensorContents,
  ModelInferRequest,
  type ModelInferRequest_InferInputTensor,
} from "../gen/inference/grpc_service.js";

export type ParameterChoice = NonNullable<InferParameter["parameterChoice"]>;
export const parameters = (given: Readonly<Record<string, ParameterChoice>>): Map<string, InferParameter> =>
  new Map(Object.entries(given).map(([key, parameterChoice]) => [key, { parameterChoice }]));

export const int64Param = (value: bigint): ParameterChoice => ({ $case: "int64Param", value });
export const boolParam = (value: boolean): ParameterChoice => ({ $case: "boolParam", value });
export const stringParam = (value: string): ParameterChoice => ({ $case: "stringParam", value });

export interface InputGiven {
  readonly name?: string;
  readonly datatype?: string;
  readonly shape: readonly number[];
  readonly contents?: Partial<InferTensorContents>;
  readonly raw?: Uint8Array;
  readonly parameters?: Readonly<Record<string, ParameterChoice>>;
}

/** A request for model m whose inputs are FP32 named x unless they say otherwise. */
export function inferRequest(
  inputs: readonly InputGiven[],
  more: {
    readonly modelName?: string;
    readonly modelVersion?: string;
    readonly id?: string;
    readonly parameters?: Readonly<Record<string, ParameterChoice>>;
    readonly outputs?: Readonly<Record<string, Readonly<Record<string, ParameterChoice>>>>;
  } = {},
): ModelInferRequest {
  return ModelInferRequest.fromPartial({
    modelName: more.modelName ?? "m",
    modelVersion: more.modelVersion ?? "",
    id: more.id ?? "",
    parameters: parameters(more.parameters ?? {}),
    inputs: inputs.map(
      ({ name = "x", datatype = "FP32", shape, contents, parameters: given = {} }) =>
        ({
          name,
          datatype,
          shape: shape.map(BigInt),
          parameters: parameters(given),
          contents: contents && InferTensorContents.fromPartial(contents),
        }) as ModelInferRequest_InferInputTensor,
    ),
    outputs: Object.entries(more.outputs ?? {}).map(([name, given]) => ({ name, parameters: parameters(given) })),
    rawInputContents: inputs.flatMap(({ raw }) => (raw === undefined ? [] : [Buffer.from(raw)])),
  });
}

export function rawFloats(...values: number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}
