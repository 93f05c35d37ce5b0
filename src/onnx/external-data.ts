// Weights kept in files beside the model. A model file is data from outside: the paths in it may lead nowhere but into
// the model's own directory, and what they claim to find there must be there.
import { realpath, stat } from "node:fs/promises";
import { dirname, isAbsolute, join, sep, win32 } from "node:path";
import { type ModelProto, type TensorProto, TensorProto_DataLocation } from "../gen/onnx/onnx.js";
import { invalidArgument } from "../status.js";
import { elementCount, elementTypeOfOnnx } from "../tensor/index.js";
import { tensorsOfModel } from "./graph-walk.js";

/**
 * Bytes of the files that hold external data, each counted once; undefined for a model without. Throws INVALID_ARGUMENT
 * naming the tensor and the location when one leaves the model's directory, is missing or is too short.
 */
export async function checkExternalData(model: ModelProto, modelPath: string): Promise<number | undefined> {
  const fileSizes = new Map<string, Promise<number>>();
  let folders: ModelFolders | undefined;
  for (const tensor of tensorsOfModel(model)) {
    if (tensor.dataLocation === TensorProto_DataLocation.DEFAULT && tensor.externalData.length === 0) continue;
    const reference = readReference(tensor);
    folders ??= await findFolders(modelPath);
    let size = fileSizes.get(reference.location);
    if (size === undefined) {
      size = fileSize(folders, tensor.name, reference.location);
      fileSizes.set(reference.location, size);
    }
    requireInside(tensor, reference, await size);
  }
  if (fileSizes.size === 0) return undefined;
  const sizes = await Promise.all(fileSizes.values());
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Where a model's files may lie. A model that is itself a link, as in a cache of downloads, has two folders. */
interface ModelFolders {
  /** Locations are relative to this one. */
  readonly named: string;
  readonly allowed: readonly string[];
}

async function findFolders(modelPath: string): Promise<ModelFolders> {
  const named = await realpath(dirname(modelPath));
  return { named, allowed: [named, dirname(await realpath(modelPath))] };
}

interface ExternalReference {
  readonly location: string;
  readonly offset: number;
  /** undefined: as much as the tensor's shape asks for. */
  readonly length: number | undefined;
}

// Behind such a location, onnxruntime takes the offset for a pointer into its own memory.
const inMemoryMarker = "_ORT_MEM_ADDR_";

function readReference(tensor: TensorProto): ExternalReference {
  const entries = new Map<string, string>();
  for (const { key, value } of tensor.externalData) {
    if (entries.has(key)) throw refuse(tensor.name, entries.get("location"), `"${key}" is given twice`);
    entries.set(key, value);
  }
  const location = entries.get("location") ?? "";
  if (location === "") throw refuse(tensor.name, location, "no location is given");
  if (location.includes(inMemoryMarker)) throw refuse(tensor.name, location, "it points into memory");
  // A path that is not whole text would be one file to us and another to the runtime.
  if (/[\0\uFFFD]/.test(location)) throw refuse(tensor.name, location, "it is not a path");
  if (isAbsolute(location) || win32.isAbsolute(location) || /^[A-Za-z]:/.test(location)) {
    throw refuse(tensor.name, location, "it must be relative to the model's directory");
  }
  if (location.split(/[\\/]/).includes("..")) throw refuse(tensor.name, location, "it may not hold ..");
  return {
    location,
    offset: byteNumber(tensor.name, location, "offset", entries.get("offset")) ?? 0,
    length: byteNumber(tensor.name, location, "length", entries.get("length")),
  };
}

function byteNumber(tensor: string, location: string, key: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d{1,16}$/.test(text) || !Number.isSafeInteger(value)) {
    throw refuse(tensor, location, `its ${key} must be a whole number of bytes; got "${text}"`);
  }
  return value;
}

async function fileSize({ named, allowed }: ModelFolders, tensor: string, location: string): Promise<number> {
  let target: string;
  try {
    target = await realpath(join(named, location));
  } catch {
    throw refuse(tensor, location, "there is no such file beside the model");
  }
  // A folder that is the root of the file system ends in its separator already.
  const inside = allowed.some((folder) => target.startsWith(folder.endsWith(sep) ? folder : folder + sep));
  if (!inside) throw refuse(tensor, location, "it leads out of the model's directory");
  const info = await stat(target);
  if (!info.isFile()) throw refuse(tensor, location, "it is not a file");
  return info.size;
}

function requireInside(tensor: TensorProto, { location, offset, length }: ExternalReference, fileBytes: number): void {
  const bytes = length ?? tensorBytes(tensor);
  if (bytes === undefined)
    throw refuse(tensor.name, location, "its length is not given and its shape does not tell it");
  if (offset + bytes > fileBytes) {
    throw refuse(tensor.name, location, `it wants ${bytes} bytes from ${offset} on; the file has ${fileBytes}`);
  }
}

/** Bytes that the shape asks for. Types below one byte an element are packed and always say their length. */
function tensorBytes(tensor: TensorProto): number | undefined {
  const info = elementTypeOfOnnx(tensor.dataType);
  const count = elementCount(tensor.dims.map(Number));
  if (info === undefined || info.bytesPerElement === 0 || count === undefined) return undefined;
  return info.name === "int4" || info.name === "uint4" ? undefined : count * info.bytesPerElement;
}

const refuse = (tensor: string, location: string | undefined, why: string) =>
  invalidArgument(`external data of tensor "${tensor}" at "${location ?? ""}": ${why}`);
