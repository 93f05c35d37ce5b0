// tensorflow.TensorProto, written straight into the response. Every tensor is gone over twice: once for the sizes that
// protobuf puts in front, once for the bytes.
import { internal } from "../../status.js";
import { elementTypeInfo, type NumericData, RawTensor, type Tensor, writeElements } from "../../tensor/index.js";
import { type NarrowArray, narrowSize, wideSize, writeNarrow, writeWide } from "./packed-values.js";
import { contentStringsSize, writeContentStrings } from "./tensor-strings.js";
import { tagOf, WireType } from "./wire-reader.js";
import { fieldSize, sizeSize, varint32Size, writeSize, writeVarint32 } from "./wire-writer.js";

/** A tensor whose sizes are known, ready to be written. */
export interface MeasuredTensor {
  readonly tensor: Tensor;
  /** Of the whole TensorProto. */
  readonly size: number;
  readonly shapeSize: number;
  readonly form: ValueForm;
  /** Of the values: a packed field's payload, the tensor_content, or all string_val fields with tags and lengths. */
  readonly valuesSize: number;
}

/** Where and how the elements are written. */
interface ValueForm {
  readonly kind: "none" | "bytes" | "narrow" | "wide" | "strings" | "content-strings";
  /** Of the field that holds all of them; of each for "strings". */
  readonly tag: number;
}

const contentTag = tagOf(4, WireType.bytes);
const formOf = (kind: ValueForm["kind"], field: number): ValueForm => ({ kind, tag: tagOf(field, WireType.bytes) });

const noValues: ValueForm = { kind: "none", tag: 0 };
const contentBytes: ValueForm = { kind: "bytes", tag: contentTag };
const contentStrings: ValueForm = { kind: "content-strings", tag: contentTag };
const intVal = formOf("narrow", 7);

/** The typed field of each element type. A bool's byte is its varint, and floats lie in memory as on the wire. */
const typedForms: Readonly<Partial<Record<Tensor["dtype"], ValueForm>>> = {
  float32: formOf("bytes", 5),
  float64: formOf("bytes", 6),
  int8: intVal,
  int16: intVal,
  int32: intVal,
  uint8: intVal,
  uint16: intVal,
  string: formOf("strings", 8),
  int64: formOf("wide", 10),
  bool: formOf("bytes", 11),
  float16: formOf("narrow", 13),
  bfloat16: formOf("narrow", 13),
  uint32: formOf("narrow", 16),
  uint64: formOf("wide", 17),
};

/** @param asContent whether the elements go into tensor_content instead of their typed field */
export function measureTensor(tensor: Tensor, asContent: boolean): MeasuredTensor {
  const form = chooseForm(tensor, asContent);
  const valuesSize = measureValues(tensor, form);
  let shapeSize = 0;
  for (const size of tensor.shape) shapeSize += fieldSize(dimSize(size));
  const size =
    1 +
    varint32Size(elementTypeInfo(tensor.dtype).tensorflow) +
    fieldSize(shapeSize) +
    (form.kind === "none"
      ? 0
      : form.kind === "strings"
        ? valuesSize
        : varint32Size(form.tag) + varint32Size(valuesSize) + valuesSize);
  return { tensor, size, shapeSize, form, valuesSize };
}

function chooseForm(tensor: Tensor, asContent: boolean): ValueForm {
  if ((tensor instanceof RawTensor ? tensor.length : tensor.data.length) === 0) return noValues;
  if (asContent) return tensor.dtype === "string" ? contentStrings : contentBytes;
  const form = typedForms[tensor.dtype];
  if (form === undefined) throw internal(`the model returned a tensor of type ${tensor.dtype}, which has no field`);
  return form;
}

function measureValues(tensor: Tensor, { kind }: ValueForm): number {
  if (kind === "none") return 0;
  if (kind === "bytes" && tensor instanceof RawTensor) return tensor.byteLength;
  const { data } = tensor;
  switch (kind) {
    case "bytes":
      return (data as NumericData).byteLength;
    case "narrow":
      return narrowSize(data as NarrowArray);
    case "wide":
      return wideSize(data as BigInt64Array);
    case "content-strings":
      return contentStringsSize(data as readonly string[]);
    case "strings": {
      let size = 0;
      for (const text of data as readonly string[]) size += fieldSize(Buffer.byteLength(text));
      return size;
    }
  }
}

/** Bytes of a Dim: 0 is what it says when it says nothing. */
function dimSize(size: number): number {
  return size === 0 ? 0 : 1 + sizeSize(size);
}

const dtypeTag = tagOf(1, WireType.varint);
const shapeTag = tagOf(2, WireType.bytes);
const dimTag = tagOf(2, WireType.bytes);
const sizeTag = tagOf(1, WireType.varint);

/** Writes the message without a tag or length of its own, and returns the position after it. */
export function writeTensor(out: Buffer, start: number, measured: MeasuredTensor): number {
  const { tensor, shapeSize } = measured;
  let pos = start;
  out[pos++] = dtypeTag;
  pos = writeVarint32(out, pos, elementTypeInfo(tensor.dtype).tensorflow);
  // Always there, as TensorFlow Serving has it: a scalar's shape is an empty message.
  out[pos++] = shapeTag;
  pos = writeVarint32(out, pos, shapeSize);
  for (const size of tensor.shape) {
    out[pos++] = dimTag;
    out[pos++] = dimSize(size); // at most ten
    if (size === 0) continue;
    out[pos++] = sizeTag;
    pos = writeSize(out, pos, size);
  }
  return writeValues(out, pos, measured);
}

function writeValues(out: Buffer, start: number, { tensor, form, valuesSize }: MeasuredTensor): number {
  if (form.kind === "none") return start;
  if (form.kind === "bytes" && tensor instanceof RawTensor) {
    const pos = writeVarint32(out, writeVarint32(out, start, form.tag), valuesSize);
    tensor.copyTo(out, pos);
    return pos + valuesSize;
  }
  const { data } = tensor;
  if (form.kind === "strings") {
    let pos = start;
    for (const text of data as readonly string[]) {
      out[pos++] = form.tag;
      pos = writeVarint32(out, pos, Buffer.byteLength(text));
      pos += out.write(text, pos);
    }
    return pos;
  }
  const pos = writeVarint32(out, writeVarint32(out, start, form.tag), valuesSize);
  switch (form.kind) {
    case "bytes":
      return writeElements(out, pos, tensor.dtype, data as NumericData);
    case "narrow":
      return writeNarrow(out, pos, data as NarrowArray);
    case "wide":
      return writeWide(out, pos, data as BigInt64Array);
    case "content-strings":
      return writeContentStrings(out, pos, data as readonly string[]);
  }
}
