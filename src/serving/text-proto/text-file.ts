import { readFile, stat } from "node:fs/promises";
import { invalidArgument } from "../../status.js";
import { fileError, isMissing } from "../file-error.js";
import { type MessageType, readTextProto } from "./text-schema.js";

/** Configuration is read whole; a file beyond this is something else that lies in its place. */
const maxBytes = 16 * 2 ** 20;

/**
 * Reads a file in protobuf's text format.
 * @returns undefined when there is no such file
 * @throws INVALID_ARGUMENT when it is not such a message; the file system's reason when it cannot be read
 */
export async function readTextProtoFile<T>(path: string, type: MessageType<T>): Promise<T | undefined> {
  let content: Uint8Array;
  try {
    const found = await stat(path);
    if (!found.isFile()) throw invalidArgument(`Invalid protobuf file: '${path}': it is not a file`);
    if (found.size > maxBytes) {
      throw invalidArgument(`Invalid protobuf file: '${path}': ${found.size} bytes; at most ${maxBytes} are read`);
    }
    content = await readFile(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw fileError(error);
  }
  return readTextProto(decodeUtf8(content, path), type, path);
}

function decodeUtf8(content: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(content);
  } catch {
    throw invalidArgument(`Invalid protobuf file: '${path}': it is not UTF-8 text`);
  }
}
