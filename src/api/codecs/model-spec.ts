import type { ModelSpec as ModelSpecMessage } from "../../gen/tensorflow_serving/apis/model.js";
import type { ModelSpec, ServableId } from "../../serving/index.js";
import { tagOf, type WireReader, WireType } from "./wire-reader.js";

/** What a generated request says of its model; undefined when it says nothing. */
export function fromModelSpecMessage(message: ModelSpecMessage | undefined): ModelSpec | undefined {
  if (message === undefined) return undefined;
  const { name, signatureName, versionChoice } = message;
  switch (versionChoice?.$case) {
    case "version":
      return { name, signatureName, version: versionChoice.value ?? 0n };
    case "versionLabel":
      return { name, signatureName, versionLabel: versionChoice.value };
    default:
      return { name, signatureName };
  }
}

/** What a response says of the version that answered; labels are never echoed. */
export function toModelSpecMessage({ name, version }: ServableId, signatureName = ""): ModelSpecMessage {
  return { name, signatureName, versionChoice: { $case: "version", value: version } };
}

/** What a request said of its model. */
export function toRequestedModelSpecMessage({
  name,
  signatureName,
  version,
  versionLabel,
}: ModelSpec): ModelSpecMessage {
  if (version !== undefined) return { name, signatureName, versionChoice: { $case: "version", value: version } };
  if (versionLabel === undefined) return { name, signatureName, versionChoice: undefined };
  return { name, signatureName, versionChoice: { $case: "versionLabel", value: versionLabel } };
}

const nameTag = tagOf(1, WireType.bytes);
const versionTag = tagOf(2, WireType.bytes);
const signatureNameTag = tagOf(3, WireType.bytes);
const versionLabelTag = tagOf(4, WireType.bytes);
const int64ValueTag = tagOf(1, WireType.varint);

/** Reads a ModelSpec field in place. @param earlier what the same field said before: protobuf merges the two */
export function readModelSpec(reader: WireReader, earlier: ModelSpec | undefined): ModelSpec {
  const outer = reader.enter();
  let name = earlier?.name ?? "";
  let signatureName = earlier?.signatureName ?? "";
  let version = earlier?.version;
  let versionLabel = earlier?.versionLabel;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case nameTag:
        name = reader.string();
        break;
      case versionTag:
        // A wrapper: present without a value means version 0, not "any". Of the two choices, the last one counts.
        version = readInt64Value(reader, version ?? 0n);
        versionLabel = undefined;
        break;
      case signatureNameTag:
        signatureName = reader.string();
        break;
      case versionLabelTag:
        versionLabel = reader.string();
        version = undefined;
        break;
      default:
        reader.skip(tag);
    }
  }
  reader.leave(outer);
  if (version !== undefined) return { name, signatureName, version };
  if (versionLabel !== undefined) return { name, signatureName, versionLabel };
  return { name, signatureName };
}

function readInt64Value(reader: WireReader, earlier: bigint): bigint {
  const outer = reader.enter();
  let value = earlier;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === int64ValueTag) value = reader.int64();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return value;
}
