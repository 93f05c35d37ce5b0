import { elementTypes, type NumericData, type Tensor } from "../../src/tensor/index.js";
import type { SeededRandom } from "./seeded-random.js";
import { randomText } from "./tensor-proto-generator.js";

const carried = elementTypes.filter(({ array, name }) => array !== undefined || name === "string");

/** A tensor of any type that is carried and a small shape, its numbers any bytes. */
export function randomTensor(random: SeededRandom): Tensor {
  const { name, array } = random.pick(carried);
  const shape = Array.from({ length: random.below(4) }, () => random.below(5));
  const count = shape.reduce((product, size) => product * size, 1);
  if (array === undefined) return { dtype: name, shape, data: Array.from({ length: count }, () => randomText(random)) };
  const bytes = Uint8Array.from({ length: count * array.BYTES_PER_ELEMENT }, () =>
    name === "bool" ? random.below(2) : random.chance(0.4) ? 0 : random.below(256),
  );
  return { dtype: name, shape, data: new array(bytes.buffer, 0, count) as NumericData };
}
