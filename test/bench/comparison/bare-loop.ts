// node bare-loop.js MODEL INPUT OUTPUT SHAPE SECONDS
// The ideal: the model in a loop of session.run on one CPU, without a server. Prints rows a second.
import { createNativeSession } from "../../../src/runtime/placement/native-session.js";

const [path = "", input = "", output = "", shapeText = "", seconds = "1"] = process.argv.slice(2);
const session = createNativeSession({ path, bytes: undefined, externalDataFolder: undefined }, 1);
const shape = shapeText.split(",").map(Number);
const data = new Float32Array(shape.reduce((product, size) => product * size, 1)).fill(0.5);
const feeds = new Map([[input, { dtype: "float32", shape, data } as const]]);

function runFor(milliseconds: number): number {
  const start = performance.now();
  let runs = 0;
  let now = start;
  do {
    session.run(feeds, [output]);
    runs += 1;
    now = performance.now();
  } while (now - start < milliseconds);
  return (runs * 1000 * shape[0]!) / (now - start);
}

runFor(300);
console.log(runFor(1000 * Number(seconds)));
