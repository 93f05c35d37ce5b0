import { ConnectionError, defaultFrameBytes, ErrorCode, largestFrameBytes, largestWindowBytes } from "./protocol.js";

export const SettingId = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

/** The settings of a client that a server which never pushes acts upon. */
export interface ClientSettings {
  readonly headerTableBytes?: number;
  readonly initialWindowBytes?: number;
  readonly maxFrameBytes?: number;
}

/**
 * The payload of a SETTINGS frame, at chunk[start, end). The last value of a setting counts; unknown ones are ignored.
 * @throws ConnectionError when a value is not allowed
 */
export function parseSettings(chunk: Buffer, start: number, end: number): ClientSettings {
  if ((end - start) % 6 !== 0) {
    throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `SETTINGS of ${end - start} bytes`);
  }
  const settings: { -readonly [Name in keyof ClientSettings]: ClientSettings[Name] } = {};
  for (let at = start; at < end; at += 6) {
    const value = chunk.readUInt32BE(at + 2);
    switch (chunk.readUInt16BE(at)) {
      case SettingId.HEADER_TABLE_SIZE:
        settings.headerTableBytes = Math.min(settings.headerTableBytes ?? value, value);
        break;
      case SettingId.ENABLE_PUSH:
        if (value > 1) throw wrong(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH", value);
        break;
      case SettingId.INITIAL_WINDOW_SIZE:
        if (value > largestWindowBytes) throw wrong(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE", value);
        settings.initialWindowBytes = value;
        break;
      case SettingId.MAX_FRAME_SIZE:
        if (value < defaultFrameBytes || value > largestFrameBytes) {
          throw wrong(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE", value);
        }
        settings.maxFrameBytes = value;
        break;
    }
  }
  return settings;
}

function wrong(code: ErrorCode, name: string, value: number): ConnectionError {
  return new ConnectionError(code, `SETTINGS_${name} of ${value}`);
}
