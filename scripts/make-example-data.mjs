// node scripts/make-example-data.mjs: writes the data sets of docs/examples/. Always the same ones: chance has a seed.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
let state = 20_251_125;

/** From 0 up to, and without, 1: the minimal standard generator of Park and Miller. */
function chance() {
  state = (state * 48_271) % 2_147_483_647;
  return state / 2_147_483_647;
}
const pick = (list) => list[Math.floor(chance() * list.length)];
/** About normal: the sum of twelve uniform numbers. */
const near = (mean, deviation) =>
  mean + deviation * (Array.from({ length: 12 }, chance).reduce((sum, value) => sum + value) - 6);

function write(name, text) {
  const file = join(root, "docs", "examples", name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}
const csv = (rows) => `${rows.map((row) => row.map(field).join(",")).join("\n")}\n`;
const field = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

// One number from another: °F = 1.8 °C + 32.
const degrees = Array.from({ length: 61 }, (_, i) => 2 * i - 40);
write(
  "temperature/data.csv",
  csv([["celsius", "fahrenheit"], ...degrees.map((c) => [c, Math.round(18 * c + 320) / 10])]),
);

// Numbers, categories, a boolean, and cells that are missing.
const fruits = [
  {
    fruit: "apple",
    weight: [180, 25],
    diameter: [78, 6],
    colors: ["red", "green", "yellow"],
    peels: ["smooth", "waxy"],
  },
  { fruit: "banana", weight: [125, 18], diameter: [36, 3], colors: ["yellow", "green"], peels: ["smooth"] },
  { fruit: "lemon", weight: [95, 15], diameter: [57, 5], colors: ["yellow"], peels: ["rough", "waxy"] },
  { fruit: "lime", weight: [65, 9], diameter: [48, 4], colors: ["green"], peels: ["rough", "waxy"] },
  { fruit: "orange", weight: [170, 28], diameter: [76, 7], colors: ["orange"], peels: ["rough"] },
];
function fruitRow(larger) {
  const { fruit, weight, diameter, colors, peels } = pick(fruits);
  const cells = [
    Math.max(20, Math.round(larger * near(...weight))),
    Math.max(15, Math.round(near(...diameter))),
    pick(colors),
    pick(peels),
    chance() < 0.3,
  ];
  return [...cells.map((cell) => (chance() < 0.03 ? "" : cell)), fruit];
}
const fruitHead = ["weight_g", "diameter_mm", "color", "peel", "organic", "fruit"];
const fruitRows = (count, larger = 1) => csv([fruitHead, ...Array.from({ length: count }, () => fruitRow(larger))]);
write("fruit/data.csv", fruitRows(240));
// A later season, whose fruits are heavier.
write("fruit/new-rows.csv", fruitRows(80, 1.5));

// Free text.
const things = [
  "coffee machine",
  "desk lamp",
  "headset",
  "keyboard",
  "kettle",
  "monitor",
  "office chair",
  "printer",
  "speaker",
];
const openings = ["Hello,", "Hi there,", "Good morning,", "Please help:", "To whom it may concern:", ""];
const teams = {
  billing: [
    (t) => `I was charged twice for the ${t}`,
    (t) => `the invoice for my ${t} shows the wrong amount`,
    () => "when will I get my refund",
    (t) => `please send a receipt for the ${t} to our accounting`,
    () => "my credit card was declined although it is valid",
    (t) => `the discount on the ${t} is missing from the bill`,
    () => "can I pay by bank transfer instead of credit card",
  ],
  delivery: [
    (t) => `my ${t} has not arrived yet`,
    () => "the tracking number does not work",
    (t) => `the parcel with the ${t} was left in the rain`,
    () => "please change the shipping address of my order",
    (t) => `the courier delivered a ${pick(things)} and not the ${t}`,
    () => "how long does shipping to Norway take",
    (t) => `the box of the ${t} was damaged on arrival`,
  ],
  technical: [
    (t) => `the ${t} does not switch on`,
    (t) => `my ${t} makes a strange noise and then stops`,
    () => "after the update nothing connects to the wireless network any more",
    (t) => `how do I reset the ${t} to factory settings`,
    (t) => `the ${t} shows error code ${Math.floor(chance() * 90) + 10}`,
    (t) => `is there a driver for the ${t} for Linux`,
    () => "the app crashes when I open the settings",
  ],
};
const messages = Array.from({ length: 240 }, () => {
  const team = pick(Object.keys(teams));
  return [`${pick(openings)} ${pick(teams[team])(pick(things))}${pick([".", "!", "?", ""])}`.trim(), team];
});
write("messages/data.csv", csv([["message", "team"], ...messages]));

// Images as tensors: the first handwritten digits of test/data, and whether each is odd.
const [, ...digits] = gunzipSync(readFileSync(join(root, "test", "data", "digits.csv.gz")))
  .toString()
  .trim()
  .split("\n");
const cells = digits.slice(0, 300).map((line) => line.split(",").map(Number));
const pixels = cells.flatMap((row) => row.slice(0, 64).map((grey) => grey / 16));
const image = { shape: [cells.length, 1, 8, 8], data: pixels };
const targets = { shape: [cells.length], dtype: "int64", data: cells.map((row) => row[64] % 2) };
write("odd-or-even/data.json", `${JSON.stringify({ inputs: { image }, targets })}\n`);
