import {
  LogSettingsRequest,
  LogSettingsResponse,
  type LogSettingsResponse_SettingValue,
  TraceSettingRequest,
  TraceSettingResponse,
} from "../../gen/inference/grpc_service.js";
import {
  type LogSetting,
  logSettings,
  refuseLogChanges,
  refuseTraceChanges,
  traceSettings,
} from "../open-inference/server-settings.js";
import type { UnaryMethod } from "./service-table.js";

export function traceSettingMethod(): UnaryMethod<TraceSettingRequest, TraceSettingResponse> {
  return {
    kind: "unary",
    path: "/inference.GRPCInferenceService/TraceSetting",
    decode: (bytes) => TraceSettingRequest.decode(bytes),
    encode: (response) => TraceSettingResponse.encode(response).finish(),
    handle({ settings }) {
      refuseTraceChanges(new Map([...settings].map(([key, { value }]) => [key, value])));
      return { settings: new Map([...traceSettings].map(([key, value]) => [key, { value: [...value] }])) };
    },
  };
}

export function logSettingsMethod(): UnaryMethod<LogSettingsRequest, LogSettingsResponse> {
  return {
    kind: "unary",
    path: "/inference.GRPCInferenceService/LogSettings",
    decode: (bytes) => LogSettingsRequest.decode(bytes),
    encode: (response) => LogSettingsResponse.encode(response).finish(),
    handle({ settings }) {
      refuseLogChanges(new Map([...settings].map(([key, { parameterChoice }]) => [key, parameterChoice?.value])));
      return { settings: new Map([...logSettings].map(([key, value]) => [key, toSettingValue(value)])) };
    },
  };
}

function toSettingValue(value: LogSetting): LogSettingsResponse_SettingValue {
  switch (typeof value) {
    case "boolean":
      return { parameterChoice: { $case: "boolParam", value } };
    case "number":
      return { parameterChoice: { $case: "uint32Param", value } };
    default:
      return { parameterChoice: { $case: "stringParam", value } };
  }
}
