// node dist/test/bench/comparison/echo-server.js http2|grpc-js PORT [observed]
// Answers tensorflow.serving.PredictionService/Predict by sending the message back, on one of the transports: what the RPC
// layer costs by itself. With "observed" calls go through the interceptors that every served call goes through.
import { createDispatcher } from "../../../src/api/grpc/dispatch.js";
import { standardInterceptors } from "../../../src/api/grpc/interceptors.js";
import type { Method } from "../../../src/api/grpc/service-table.js";
import { createGrpcJsTransport } from "../../../src/api/grpc/transport/grpc-js.js";
import { createHttp2Transport } from "../../../src/api/grpc/transport/http2/http2-transport.js";
import { validateGrpcTransportOptions } from "../../../src/api/grpc/transport/transport-options.js";
import { systemClock } from "../../../src/clock.js";
import { silentLogger } from "../../../src/telemetry/index.js";

const [name = "http2", port = "0", observed] = process.argv.slice(2);
const path = "/tensorflow.serving.PredictionService/Predict";
const bytes = (message: Uint8Array) => message;
const echo: Method = { kind: "unary", path, decode: bytes, encode: bytes, handle: bytes };
const table = new Map([[path, echo]]);
const interceptors = observed === undefined ? [] : standardInterceptors(systemClock, () => {});
const logger = silentLogger;
const clock = systemClock;
const dispatcher = createDispatcher(table, { interceptors, logger, clock });
const create = name === "grpc-js" ? createGrpcJsTransport : createHttp2Transport;
const transport = create(table, validateGrpcTransportOptions({}), { dispatcher, logger, clock });
console.log(`${name} listening on 127.0.0.1:${await transport.listenTcp("127.0.0.1", Number(port))}`);
