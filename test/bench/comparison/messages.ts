// Request bodies as files, gRPC's five bytes in front.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PredictRequest } from "../../gen/tensorflow_serving/apis/predict.js";
import { floatPredict } from "../../support/clients.js";

export const predictPath = "/tensorflow.serving.PredictionService/Predict";

/** A Predict of this model with floats of this shape in tensor_content. @returns the file, and the message's bytes */
export function predictBody(folder: string, model: string, input: string, shape: readonly number[]) {
  const values = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(0.5);
  const request = floatPredict(model, input, [], shape);
  request.inputs.get(input)!.tensorContent = Buffer.from(values.buffer);
  return framed(join(folder, `${model}-${values.length}.bin`), PredictRequest.encode(request).finish());
}

/** The echo servers' message of so many bytes: one field of bytes, number 9. */
export function echoBody(folder: string, bytes: number) {
  const length: number[] = [];
  for (let rest = bytes; ; rest = Math.floor(rest / 128)) {
    length.push(rest < 128 ? rest : (rest % 128) | 128);
    if (rest < 128) break;
  }
  const message = Buffer.concat([Buffer.from([9 * 8 + 2, ...length]), Buffer.alloc(bytes, 1)]);
  return framed(join(folder, `echo-${bytes}.bin`), message);
}

function framed(file: string, message: Uint8Array): { readonly body: string; readonly bytes: number } {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  writeFileSync(file, Buffer.concat([prefix, message]));
  return { body: file, bytes: message.length };
}
