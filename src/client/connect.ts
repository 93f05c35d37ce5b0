import { invalidArgument } from "../status.js";
import type { ClientOptions } from "./client-options.js";
import type { ModelClient } from "./model-client.js";
import { OpenInferenceClient } from "./open-inference-client.js";
import { OpenInferenceRestClient } from "./open-inference-rest-client.js";
import { isRestTarget } from "./target.js";
import { TensorFlowServingClient } from "./tensorflow-serving-client.js";

export type Protocol = "tensorflow-serving" | "open-inference";

/**
 * A client for the target: "host:port", "grpc://…", "grpcs://…" and "unix:/path" speak gRPC, and TensorFlow Serving's
 * protocol unless told otherwise; "http://…" and "https://…" speak the Open Inference Protocol over REST. The connection
 * is made with the first call.
 */
export function connect(target: string, options: ClientOptions & { readonly protocol?: Protocol } = {}): ModelClient {
  const { protocol, ...rest } = options;
  if (isRestTarget(target)) {
    // TensorFlow Serving's JSON carries no element types, and no way to have them.
    if (protocol === "tensorflow-serving") {
      throw invalidArgument("over REST this client speaks the Open Inference Protocol only; use gRPC");
    }
    return new OpenInferenceRestClient(target, rest);
  }
  return protocol === "open-inference"
    ? new OpenInferenceClient(target, rest)
    : new TensorFlowServingClient(target, rest);
}
