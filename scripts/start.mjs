// npm start [-- FLAGS]: builds when a source is newer than what was built, then serves models/ (or what the flags say).
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";

const main = join("dist", "src", "main.js");
if (!isBuilt()) {
  execFileSync(process.execPath, [join("node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.json"], {
    stdio: "inherit",
  });
}
const given = process.argv.slice(2);
const names = ["model_config_file", "model_base_path", "model_repository"];
const choosesModels =
  given.some((argument) => names.includes(argument.replace(/^--/, "").split("=")[0].replaceAll("-", "_"))) ||
  names.some((name) => process.env[`ONNXD_${name.toUpperCase()}`] !== undefined);
const defaults = choosesModels ? [] : [`--model_config_file=${join("models", "models.config")}`];
// Here a person reads; programs start dist/src/main.js themselves and get JSON lines.
const choosesFormat =
  given.some((argument) => /^--log[_-]format\b/.test(argument)) || "ONNXD_LOG_FORMAT" in process.env;
if (!choosesFormat) defaults.push("--log_format=text");
const command = given[0] === "serve" ? given.slice(1) : given;
const server = spawn(process.execPath, ["--enable-source-maps", main, "serve", ...defaults, ...command], {
  stdio: "inherit",
});
// npm hands its signals on to this process; the server decides what they mean.
for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => server.kill(signal));
server.on("exit", (code, signal) => process.exit(code ?? (signal === null ? 1 : 128)));

function isBuilt() {
  if (!existsSync(main)) return false;
  const built = statSync(main).mtimeMs;
  const sources = readdirSync("src", { recursive: true }).map((file) => join("src", file));
  return [...sources, "tsconfig.json"].every((file) => statSync(file).mtimeMs <= built);
}
