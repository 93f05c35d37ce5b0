import { createGrpcJsTransport } from "../../../../src/api/grpc/transport/grpc-js.js";
import { transportSuite } from "./transport-suite.js";

transportSuite("grpc-js", createGrpcJsTransport);
