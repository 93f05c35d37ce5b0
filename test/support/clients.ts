import { Client, type ClientOptions, credentials, Metadata } from "@grpc/grpc-js";
import { TensorProto } from "../gen/tensorflow/core/framework/tensor.js";
import { DataType } from "../gen/tensorflow/core/framework/types.js";
import { type PredictRequest, PredictRequest as PredictRequestCodec } from "../gen/tensorflow_serving/apis/predict.js";

type ClientClass<T> = new (
  address: string,
  channelCredentials: ReturnType<typeof credentials.createInsecure>,
  options?: Partial<ClientOptions>,
) => T;

/** A generated client that closes itself at the end of a `using` block. */
export function connect<T extends Client>(
  client: ClientClass<T>,
  target: string,
  options: Partial<ClientOptions> = {},
): T & Disposable {
  const connected = new client(target, credentials.createInsecure(), {
    "grpc.max_receive_message_length": -1,
    "grpc.use_local_subchannel_pool": 1,
    ...options,
  });
  return Object.assign(connected, { [Symbol.dispose]: () => Client.prototype.close.call(connected) });
}

export const noMetadata = new Metadata();

/** A Predict of one float input, in typed fields. */
export function floatPredict(
  model: string,
  input: string,
  values: readonly number[],
  shape: readonly number[] = [values.length],
  version?: bigint,
): PredictRequest {
  return PredictRequestCodec.fromPartial({
    modelSpec: {
      name: model,
      ...(version !== undefined && { versionChoice: { $case: "version", value: version } }),
    },
    inputs: new Map([
      [
        input,
        TensorProto.fromPartial({
          dtype: DataType.DT_FLOAT,
          tensorShape: { dim: shape.map((size) => ({ size: BigInt(size), name: "" })), unknownRank: false },
          floatVal: [...values],
        }),
      ],
    ]),
  });
}
