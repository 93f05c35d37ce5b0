// What GET answers: protobuf messages as JSON, in the layout and with the defaults that TensorFlow Serving prints.
import type { Signature, TensorSpec } from "../../onnx/index.js";
import type { ModelMetadata, VersionStatus } from "../../serving/index.js";
import { Code, codeName } from "../../status.js";
import { elementTypeInfo } from "../../tensor/index.js";

/** GetModelStatusResponse. */
export function modelStatusJson(versions: readonly VersionStatus[]): string {
  return print({
    model_version_status: versions.map(({ version, state, error }) => ({
      version: version.toString(),
      state,
      status: { error_code: codeName(error?.code ?? Code.OK), error_message: error?.message ?? "" },
    })),
  });
}

/** GetModelMetadataResponse, its one metadata field unpacked. */
export function modelMetadataJson({ servableId, signatures }: ModelMetadata): string {
  return print({
    model_spec: { name: servableId.name, signature_name: "", version: servableId.version.toString() },
    metadata: { signature_def: { signature_def: mapValues(signatures, signatureDef) } },
  });
}

function signatureDef({ inputs, outputs, methodName }: Signature): object {
  return {
    inputs: mapValues(inputs, tensorInfo),
    outputs: mapValues(outputs, tensorInfo),
    method_name: methodName,
    defaults: {},
  };
}

function tensorInfo({ name, dtype, shape }: TensorSpec): object {
  return {
    dtype: `DT_${elementTypeInfo(dtype).tensorflowName.toUpperCase()}`,
    tensor_shape: {
      dim: (shape ?? []).map((size) => ({
        size: typeof size === "number" ? size.toString() : "-1",
        name: typeof size === "string" ? size : "",
      })),
      unknown_rank: shape === undefined,
    },
    name,
  };
}

/** An object of its own keys only: a signature named __proto__ is a key like any other. */
function mapValues<T>(map: ReadonlyMap<string, T>, convert: (value: T) => object): object {
  return Object.fromEntries(Array.from(map, ([key, value]) => [key, convert(value)]));
}

function print(message: object): string {
  return `${JSON.stringify(message, null, 1)}\n`;
}
