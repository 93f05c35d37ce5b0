// npm start [-- FLAGS]: builds when a source is newer than what was built, then serves models/ (or what the flags say).
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const main = join("dist", "src", "main.js");
if (!isBuilt()) {
  execFileSync(process.execPath, [join("node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.json"], {
    stdio: "inherit",
  });
}
const given = process.argv.slice(2);
const names = ["model_config_file", "model_base_path", "model_repository"];
const defaults = isGiven(names) ? [] : [`--model_config_file=${join("models", "models.config")}`];
if (!isGiven(["training_dir"])) defaults.push("--training_dir=training");
// Here a person reads; programs start dist/src/main.js themselves and get JSON lines.
if (!isGiven(["log_format"])) defaults.push("--log_format=text");
const command = given[0] === "serve" ? given.slice(1) : given;
// In this very process: a terminal sends its signals to every process of the group, and a second one would end the server
// at once.
process.setSourceMapsEnabled(true);
process.argv.splice(2, process.argv.length, "serve", ...defaults, ...command);
await import(pathToFileURL(main).href);

/** On the command line or in the environment. */
function isGiven(flags) {
  return (
    given.some((argument) => flags.includes(argument.replace(/^--/, "").split("=")[0].replaceAll("-", "_"))) ||
    flags.some((flag) => process.env[`ONNXD_${flag.toUpperCase()}`] !== undefined)
  );
}

function isBuilt() {
  if (!existsSync(main)) return false;
  const built = statSync(main).mtimeMs;
  const sources = readdirSync("src", { recursive: true }).map((file) => join("src", file));
  return [...sources, "tsconfig.json"].every((file) => statSync(file).mtimeMs <= built);
}
