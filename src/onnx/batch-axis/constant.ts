import type { AttributeProto, TensorProto } from "../../gen/onnx/onnx.js";
import { type ElementType, type ElementTypeInfo, elementTypeOfOnnx, viewAs } from "../../tensor/index.js";
import { fixed, type Layout } from "./layout.js";

// Longer lists are no shapes, axes or scales.
const maxElements = 256;

/** What a Constant node or an attribute says of its value. */
export function constantLayout(value: Partial<AttributeProto>): Layout {
  if (value.t !== undefined) return tensorLayout(value.t);
  switch (value.name) {
    case "value_int":
      return fixed([], [Number(value.i)]);
    case "value_ints":
      return fixed([value.ints!.length], value.ints!.map(Number));
    case "value_float":
      return { ...fixed([]), reals: [value.f!] };
    case "value_floats":
      return { ...fixed([value.floats!.length]), reals: value.floats! };
    case "value_string":
      return fixed([]);
    case "value_strings":
      return fixed([value.strings!.length]);
    default:
      return fixed(undefined);
  }
}

/** Its shape, and the elements of a short list whose data the file holds. */
export function tensorLayout(tensor: TensorProto): Layout {
  const shape = tensor.dims.map(Number);
  const layout = fixed(shape);
  const count = shape[0] ?? 1;
  if (shape.length > 1 || count > maxElements) return layout;
  const type = elementTypeOfOnnx(tensor.dataType);
  const values = type === undefined ? undefined : numbersOf(tensor, type, count);
  if (values === undefined) return layout;
  return type?.name.startsWith("float") ? { ...layout, reals: values } : { ...layout, elements: values };
}

/** So many, of the types that shapes, axes, conditions and scales have. */
function numbersOf(tensor: TensorProto, type: ElementTypeInfo, count: number): readonly number[] | undefined {
  const lists: Partial<Record<ElementType, readonly (number | bigint)[]>> = {
    float32: tensor.floatData,
    float64: tensor.doubleData,
    int32: tensor.int32Data,
    bool: tensor.int32Data,
    int64: tensor.int64Data,
  };
  const list = lists[type.name];
  if (list === undefined || tensor.externalData.length > 0) return undefined;
  const { rawData } = tensor;
  const isRaw = rawData.length > 0 && rawData.length === count * type.bytesPerElement;
  const values = isRaw ? Array.from(viewAs(type.name, rawData), Number) : list.map(Number);
  return values.length === count ? values : undefined;
}
