import type { CallOptions, ClientUnaryCall, Metadata, ServiceError } from "@grpc/grpc-js";

type Unary<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** A unary method of a generated client as a promise; rejects with the ServiceError. */
export function call<Client, Request, Response>(
  client: Client,
  method: Unary<Request, Response>,
  request: Request,
  metadata: Metadata,
  options: Partial<CallOptions> = {},
): Promise<Response> {
  return new Promise((resolve, reject) => {
    method.call(client, request, metadata, options, (error, response) => {
      if (error !== null) reject(error);
      else resolve(response);
    });
  });
}
