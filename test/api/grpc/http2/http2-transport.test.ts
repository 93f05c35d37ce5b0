import { createHttp2Transport } from "../../../../src/api/grpc/transport/http2/http2-transport.js";
import { transportSuite } from "../transport/transport-suite.js";

transportSuite("http2", createHttp2Transport);
