// grpc.reflection v1 and v1alpha, which are the same on the wire: what grpcurl and other generic clients learn our
// services from.
import { ServerReflectionRequest, ServerReflectionResponse } from "../../gen/grpc/reflection/v1/reflection.js";
import { Code, invalidArgument } from "../../status.js";
import { DescriptorIndex } from "./descriptor-index.js";
import type { BidiMethod, Method } from "./service-table.js";

const reflectionServices = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];

/**
 * @param descriptorSet a serialized google.protobuf.FileDescriptorSet with the files of all services and their imports
 * @param served full names of the services served, besides reflection itself
 */
export function reflectionService(descriptorSet: Uint8Array, served: Iterable<string>): Method[] {
  const index = new DescriptorIndex(descriptorSet);
  const names = [...served, ...reflectionServices].sort();
  return reflectionServices.map(
    (service): BidiMethod<ServerReflectionRequest, ServerReflectionResponse> => ({
      kind: "bidi",
      path: `/${service}/ServerReflectionInfo`,
      decode: (bytes) => ServerReflectionRequest.decode(bytes),
      encode: (response) => ServerReflectionResponse.encode(response).finish(),
      handle: (requests) => reflect(requests, index, names),
    }),
  );
}

async function* reflect(
  requests: AsyncIterable<ServerReflectionRequest>,
  index: DescriptorIndex,
  names: readonly string[],
): AsyncGenerator<ServerReflectionResponse> {
  /** Files that this client has by now: it needs none of them twice as an import. */
  const sent = new Set<string>();
  for await (const request of requests) {
    yield { validHost: request.host, originalRequest: request, messageResponse: answer(request, index, names, sent) };
  }
}

function answer(
  { messageRequest: asked }: ServerReflectionRequest,
  index: DescriptorIndex,
  names: readonly string[],
  sent: Set<string>,
): ServerReflectionResponse["messageResponse"] {
  switch (asked?.$case) {
    case "fileByFilename":
      return files(index, index.hasFile(asked.value) ? asked.value : undefined, sent, `File not found: ${asked.value}`);
    case "fileContainingSymbol":
      return files(index, index.fileOfSymbol(asked.value), sent, `Symbol not found: ${asked.value}`);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = asked.value;
      const file = index.fileOfExtension(containingType, extensionNumber);
      return files(index, file, sent, `Extension not found: ${extensionNumber} of ${containingType}`);
    }
    case "allExtensionNumbersOfType": {
      if (index.fileOfSymbol(asked.value) === undefined) return notFoundResponse(`Type not found: ${asked.value}`);
      const extensionNumber = [...index.extensionNumbersOf(asked.value)];
      return { $case: "allExtensionNumbersResponse", value: { baseTypeName: asked.value, extensionNumber } };
    }
    case "listServices":
      return { $case: "listServicesResponse", value: { service: names.map((name) => ({ name })) } };
    default:
      throw invalidArgument("ServerReflectionRequest asks for nothing that is known here");
  }
}

function files(
  index: DescriptorIndex,
  file: string | undefined,
  sent: Set<string>,
  missing: string,
): ServerReflectionResponse["messageResponse"] {
  if (file === undefined) return notFoundResponse(missing);
  const wanted = index.withImports(file).filter((name) => name === file || !sent.has(name));
  for (const name of wanted) sent.add(name);
  return {
    $case: "fileDescriptorResponse",
    value: { fileDescriptorProto: wanted.map((name) => index.bytesOf(name)) },
  };
}

function notFoundResponse(errorMessage: string): ServerReflectionResponse["messageResponse"] {
  return { $case: "errorResponse", value: { errorCode: Code.NOT_FOUND, errorMessage } };
}
