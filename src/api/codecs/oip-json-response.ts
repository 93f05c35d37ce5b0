// The answer to a REST inference: JSON, and behind it the bytes of the outputs that are not in the JSON.
import { invalidArgument } from "../../status.js";
import { bytesOf, elementTypeInfo, encodeLengthPrefixed, isNumeric, type Tensor } from "../../tensor/index.js";
import type { InferOutput, InferResponse } from "../open-inference/infer-request.js";
import { encodeJsonString } from "./json-string.js";
import { writeWithFlatLists } from "./json-writer.js";

export interface JsonInferResponse {
  /** The JSON, in pieces. */
  readonly head: Generator<Buffer, undefined>;
  /** What comes behind it. */
  readonly blobs: readonly Uint8Array[];
  /** Of all blobs; 0: the answer is JSON alone. */
  readonly blobBytes: number;
}

/** @throws INVALID_ARGUMENT for a tensor that JSON cannot hold and that was not asked for as bytes */
export function writeInferResponse(response: InferResponse, isBinary: (output: string) => boolean): JsonInferResponse {
  const { servableId, id, outputs } = response;
  const parts: (string | Tensor)[] = [];
  const blobs: Uint8Array[] = [];
  let blobBytes = 0;
  let text = "{";
  if (id !== "") text += `"id":${encodeJsonString(id)},`;
  text += `"model_name":${encodeJsonString(servableId.name)},"model_version":"${servableId.version}","outputs":[`;
  for (const [index, output] of outputs.entries()) {
    const { datatype, shape } = described(output);
    if (index > 0) text += ",";
    text += `{"name":${encodeJsonString(output.name)},"datatype":"${datatype}","shape":[${shape.join(",")}],`;
    if (isBinary(output.name)) {
      const blob = rawBytes(output.tensor);
      blobs.push(blob);
      blobBytes += blob.length;
      text += `"parameters":{"binary_data_size":${blob.length}}}`;
    } else {
      if (datatype === "FP16" || datatype === "BF16") {
        throw invalidArgument(
          `sending ${datatype} data via JSON is not supported. Please use the binary data format for output ${output.name}`,
        );
      }
      text += '"data":';
      if (output.tensor.data.length === 0) text += "[]}";
      else {
        parts.push(text, output.tensor);
        text = "}";
      }
    }
  }
  parts.push(`${text}]}`);
  return { head: writeWithFlatLists(parts), blobs, blobBytes };
}

function described({ tensor }: InferOutput) {
  return { datatype: elementTypeInfo(tensor.dtype).openInference ?? "", shape: tensor.shape };
}

function rawBytes(tensor: Tensor): Uint8Array {
  return isNumeric(tensor) ? bytesOf(tensor.data) : encodeLengthPrefixed(tensor.data as readonly string[]);
}
