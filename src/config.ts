// The one table of flags. Everything that is said of a flag is said here: its name, type, default, meaning, and whether
// TensorFlow Serving knows it. --help, the checks, the environment's names and the typed Options all come from the table.
import { invalidArgument, type StatusError } from "./status.js";

/** Whose flag it is, and what becomes of it. */
type Standing =
  /** TensorFlow Serving's, honoured. */
  | "compatible"
  /** Ours. */
  | "own"
  /** TensorFlow Serving's, accepted so that scripts start, and logged as ignored when it is given. */
  | "ignored";

interface Flag<T> {
  readonly type: "int" | "float" | "bool" | "string";
  readonly standing: Standing;
  readonly default: T;
  readonly doc: string;
  readonly min?: number;
  readonly max?: number;
  readonly oneOf?: readonly string[];
  /** Given several times, its values are joined by commas. */
  readonly repeated?: boolean;
}

const int = (standing: Standing, value: number, doc: string, min?: number, max?: number): Flag<number> => ({
  type: "int",
  standing,
  default: value,
  doc,
  ...(min !== undefined && { min }),
  ...(max !== undefined && { max }),
});
const float = (standing: Standing, value: number, doc: string): Flag<number> => ({
  type: "float",
  standing,
  default: value,
  doc,
});
const bool = (standing: Standing, value: boolean, doc: string): Flag<boolean> => ({
  type: "bool",
  standing,
  default: value,
  doc,
});
const text = (standing: Standing, value: string, doc: string): Flag<string> => ({
  type: "string",
  standing,
  default: value,
  doc,
});
const list = (standing: Standing, doc: string): Flag<string> => ({
  type: "string",
  standing,
  default: "",
  doc,
  repeated: true,
});
const choice = <const T extends string>(standing: Standing, value: T, doc: string, oneOf: readonly T[]): Flag<T> => ({
  type: "string",
  standing,
  default: value,
  doc,
  oneOf,
});
const ignored = (type: Flag<unknown>["type"], doc: string): Flag<unknown> => ({
  type,
  standing: "ignored",
  default: undefined,
  doc,
});

const port = 65_535;
const maxInt32 = 2 ** 31 - 1;

export const flags = {
  // Doors
  port: int("compatible", 8500, "TCP port of gRPC; 0 turns it off (a socket path is needed then).", 0, port),
  grpc_socket_path: text("compatible", "", "Path of a Unix socket that serves gRPC too."),
  rest_api_port: int("compatible", 8501, "TCP port of REST and metrics; 0 turns it off.", 0, port),
  bind_address: text("own", "0.0.0.0", 'Address that both TCP ports listen on; "::" takes IPv6 and IPv4.'),
  serving_processes: int(
    "own",
    1,
    "Processes that share the ports, each with its own event loop and sessions; 0: one for every two CPUs.",
    0,
    256,
  ),
  rest_api_timeout_in_ms: int("compatible", 30_000, "How long a REST call may take; 0 or less: without end."),
  rest_api_enable_cors_support: bool("compatible", false, "Answer REST calls with CORS headers."),
  max_receive_message_bytes: int("own", 64 * 2 ** 20, "Largest request, on either door.", 1, maxInt32),
  grpc_transport: choice("own", "http2", "What carries gRPC: our own HTTP/2, or the grpc-js package.", [
    "http2",
    "grpc-js",
  ]),
  grpc_channel_arguments: text(
    "compatible",
    "",
    "k=v,k=v: server channel arguments, unknown ones do no harm; onnxd.NAME: limits of our transport, see docs/operations.md.",
  ),
  ssl_config_file: text(
    "compatible",
    "",
    "SSLConfig in text form: gRPC and REST speak TLS; read again every 10 s, so that certificates can be renewed.",
  ),
  enable_grpc_healthcheck_service: bool(
    "compatible",
    true,
    "Serve grpc.health.v1.Health. On by default, unlike TensorFlow Serving's.",
  ),
  enable_reflection: bool("own", true, "Serve gRPC server reflection, v1 and v1alpha."),
  monitoring_config_file: text(
    "compatible",
    "",
    "MonitoringConfig in text form; its path adds one more place for the metrics, which are on in any case.",
  ),

  open_inference_always_raw: bool(
    "own",
    false,
    "Answer ModelInfer with raw_output_contents always, as Triton does; off: typed contents for typed contents.",
  ),
  management: choice(
    "own",
    "local",
    "Who may load and unload models and change the configuration: callers on loopback and Unix sockets, all, or nobody.",
    ["local", "open", "off"],
  ),

  // Training
  training_dir: text(
    "own",
    "",
    "Where training jobs and the new models they make lie, one server a folder; empty: training is off. `npm start` gives it `training`.",
  ),
  training_data_dir: text(
    "own",
    "",
    "The only folder that training jobs may take files of the server's from; empty: none.",
  ),
  training_concurrency: int("own", 1, "Training jobs that run at the same time.", 1, 64),
  training_queue: int("own", 16, "Training jobs that wait for their turn, at most.", 0, 100_000),
  training_memory_bytes: int(
    "own",
    2 * 2 ** 30,
    "What weights, activations and rows of a training job may take.",
    1,
    Number.MAX_SAFE_INTEGER,
  ),
  training_max_seconds: int("own", 0, "How long a job may train; 0: without end.", 0),
  training_max_data_bytes: int("own", 4 * 2 ** 30, "The data of a training job, at most.", 1, Number.MAX_SAFE_INTEGER),
  training_cpu_share: float(
    "own",
    1,
    "Of a core, what a training job takes at most; it has the lowest priority in any case.",
  ),

  // Models
  model_config_file: text("compatible", "", "ModelServerConfig in text form: the models to serve."),
  model_config_file_poll_wait_seconds: int("compatible", 0, "Read the file again this often; 0 or less: never."),
  model_name: text("compatible", "default", "Name of the one model, without a config file."),
  model_base_path: text("compatible", "", "Absolute path of the one model, without a config file."),
  model_repository: list(
    "own",
    "A Triton model repository: directories of models with their config.pbtxt; may be repeated.",
  ),
  model_control_mode: choice(
    "own",
    "none",
    "When the models of a Triton repository come and go: all at start; as the directories change; as clients say.",
    ["none", "poll", "explicit"],
  ),
  load_model: list("own", "Under explicit control: a model to load at start, * for all; may be repeated."),
  repository_poll_secs: int("own", 15, "Under control by poll: look at the directories this often.", 1, 1_000_000),
  file_system_poll_wait_seconds: int(
    "compatible",
    1,
    "Look for new versions this often; 0: once at start; negative: never.",
  ),
  file_quiet_period_ms: int(
    "own",
    500,
    "Files of a new version must not have changed for this long before they are loaded; 0 where versions are renamed into place.",
    0,
    60_000,
  ),
  num_load_threads: int("compatible", 0, "Models that load at the same time, at most; 0: as many as CPUs.", 0, 1024),
  num_unload_threads: ignored("int", "Unloads never wait for each other here."),
  max_num_load_retries: int("compatible", 5, "Attempts after a failed load.", 0, maxInt32),
  load_retry_interval_micros: int("compatible", 60_000_000, "Wait between attempts to load; negative: none."),
  allow_version_labels_for_unavailable_models: bool(
    "compatible",
    false,
    "Accept a new label for a version that is not available yet.",
  ),
  enable_signature_method_name_check: bool("compatible", false, "Refuse signatures of another method name."),
  enable_serialization_as_tensor_content: bool("compatible", false, "Answer Predict in tensor_content."),
  enable_model_warmup: bool(
    "compatible",
    true,
    "Run the requests in a version's assets.extra/tf_serving_warmup_requests before it answers.",
  ),
  num_request_iterations_for_warmup: int("compatible", 0, "How often each of them is run; 0 or less: once."),
  strict_startup: bool(
    "own",
    false,
    "Start as TensorFlow Serving does: open the ports once every model has settled, and exit when one has failed.",
  ),

  startup_wait_ms: int(
    "own",
    30_000,
    "The ports open once every model has been tried, but no later than this; strict_startup waits for ever.",
    0,
    3_600_000,
  ),

  // Runs
  batching: choice(
    "own",
    "auto",
    "auto: calls that wait together run together where a model's rows are proven independent; off: never.",
    ["auto", "off"],
  ),
  enable_batching: bool(
    "compatible",
    false,
    "Run calls of every model together by TensorFlow Serving's batching parameters, proven independent or not.",
  ),
  batching_parameters_file: text("compatible", "", "BatchingParameters in text form, for enable_batching."),
  enable_per_model_batching_parameters: bool(
    "compatible",
    false,
    "Read batching_params.pbtxt in each version's directory instead; versions without one are not batched.",
  ),
  session_pool_size: int("own", 0, "Worker threads of a model, a session each; 0: from the CPUs there are.", 0, 256),
  tensorflow_intra_op_parallelism: int("compatible", 0, "Threads of one run; 0: the CPUs shared out.", 0, 1024),
  max_queued_calls: int("own", 1024, "Calls of a model that may wait; more are refused.", 1, 1_000_000),
  inline_threshold_micros: int(
    "own",
    -1,
    "Models whose run is shorter live on the serving thread; 0: none; -1: 50, what a hop to another thread costs, or 250 with one CPU.",
    -1,
    10_000,
  ),

  // Life
  drain_delay_ms: int(
    "own",
    0,
    "After SIGTERM: how long to go on serving while health says NOT_SERVING.",
    0,
    3_600_000,
  ),
  shutdown_timeout_ms: int("own", 30_000, "After that: how long calls in flight may take to end.", 0, 3_600_000),
  log_level: choice("own", "info", "Least severe lines that are written.", ["debug", "info", "warn", "error"]),
  log_format: choice("own", "json", "JSON lines, or text for people.", ["json", "text"]),
  access_log: bool("own", true, "Write one line for each call."),

  // Accepted for TensorFlow Serving's sake
  rest_api_num_threads: ignored("int", "REST is served by one event loop."),
  grpc_max_threads: ignored("int", "gRPC is served by one event loop."),
  flush_filesystem_caches: ignored("bool", "Files are read once."),
  enable_profiler: ignored("bool", "tensorflow.ProfilerService is not served."),
  tensorflow_inter_op_parallelism: ignored("int", "A run executes its nodes in order."),
  tensorflow_session_parallelism: ignored("int", "See session_pool_size."),
  tensorflow_session_config_file: ignored("string", "There is no TensorFlow session."),
  platform_config_file: ignored("string", "There is one platform."),
  per_process_gpu_memory_fraction: ignored("float", "Models run on the CPU."),
  saved_model_tags: ignored("string", "An ONNX model has no tags."),
  remove_unused_fields_from_bundle_metagraph: ignored("bool", "There is no metagraph."),
  prefer_tflite_model: ignored("bool", "Models are ONNX."),
  num_tflite_pools: ignored("int", "Models are ONNX."),
  num_tflite_interpreters_per_pool: ignored("int", "Models are ONNX."),
  xla_cpu_compilation_enabled: ignored("bool", "Models are ONNX."),
  xla_gpu_compilation_enabled: ignored("bool", "Models are ONNX."),
  thread_pool_factory_config_file: ignored("string", "See session_pool_size."),
  mixed_precision: ignored("string", "A model runs in the types it declares."),
  skip_initialize_tpu: ignored("bool", "Models run on the CPU."),
} as const satisfies Record<string, Flag<unknown>>;

/**
 * TensorFlow Serving's flags that would change what clients get, and that this version cannot honour. Ignoring them
 * would be a silent wrong answer, so a value other than TensorFlow Serving's default is refused.
 */
export const refused: Record<string, { readonly harmless: readonly string[]; readonly reason: string }> = {
  use_alts_credentials: { harmless: ["false"], reason: "Google's ALTS is not served; TLS is, with ssl_config_file" },
};

type Name = keyof typeof flags;
/** Every flag that has an effect, by name, with its value. */
export type Options = {
  readonly [K in Name as (typeof flags)[K]["default"] extends undefined ? never : K]: (typeof flags)[K]["default"];
};

export interface CommandLine {
  readonly command: "serve" | "help" | "version";
  readonly options: Options;
  /** A sentence for each flag that was given and has no effect. */
  readonly ignored: readonly string[];
}

/**
 * Reads the arguments behind the program's name and the environment; an argument wins over a variable.
 * @throws INVALID_ARGUMENT naming the flag, what it takes and, for an unknown one, the nearest there is
 */
export function parseCommandLine(argv: readonly string[], env: NodeJS.ProcessEnv): CommandLine {
  const given = new Map<string, string>();
  for (const [variable, value] of Object.entries(env)) {
    if (!variable.startsWith("ONNXD_") || value === undefined || isServiceLink(variable, value)) continue;
    if (variable === clientTarget) continue;
    given.set(requireKnown(variable.slice("ONNXD_".length).toLowerCase(), `environment variable ${variable}`), value);
  }
  const onCommandLine = new Set<string>();
  let rest = argv;
  if (rest[0] === "serve") rest = rest.slice(1);
  let command: CommandLine["command"] = "serve";
  for (let i = 0; i < rest.length; i++) {
    const argument = rest[i]!;
    if (argument === "--help" || argument === "-h") command = "help";
    else if (argument === "--version" || argument === "--version=true")
      command = command === "help" ? "help" : "version";
    else if (!argument.startsWith("--")) throw unknownWord(argument);
    else {
      const equals = argument.indexOf("=");
      const name = requireKnown(
        argument.slice(2, equals < 0 ? undefined : equals).replaceAll("-", "_"),
        `flag ${equals < 0 ? argument : argument.slice(0, equals)}`,
      );
      const add = (value: string) => {
        given.set(name, onCommandLine.has(name) && isRepeated(name) ? `${given.get(name)},${value}` : value);
        onCommandLine.add(name);
      };
      if (equals >= 0) add(argument.slice(equals + 1));
      else if (isBool(name)) {
        const next = rest[i + 1];
        if (next === "true" || next === "false") i++;
        given.set(name, next === "false" ? "false" : "true");
      } else if (i + 1 < rest.length) add(rest[++i]!);
      else throw invalidArgument(`flag --${name} takes a value: --${name}=…`);
    }
  }
  return { command, ...resolve(given) };
}

/** Says where the client commands find a server; no concern of the server's. */
const clientTarget = "ONNXD_TARGET";

/** Kubernetes sets such variables in every pod of a namespace that has a service named onnxd, or onnxd-grpc; they are not ours. */
function isServiceLink(variable: string, value: string): boolean {
  return (
    /^ONNXD(_[A-Z0-9_]+)?_(SERVICE_(HOST|PORT(_.*)?)|PORT_\d+_(TCP|UDP|SCTP)(_.*)?)$/.test(variable) ||
    (/^ONNXD(_[A-Z0-9_]+)?_PORT$/.test(variable) && value.includes("://"))
  );
}

function resolve(given: ReadonlyMap<string, string>): Pick<CommandLine, "options" | "ignored"> {
  const options: Record<string, unknown> = {};
  const notes: string[] = [];
  for (const [name, flag] of Object.entries(flags) as [string, Flag<unknown>][]) {
    const value = given.get(name);
    if (flag.standing === "ignored") {
      if (value !== undefined) notes.push(`--${name} is accepted and has no effect: ${flag.doc}`);
    } else options[name] = value === undefined ? flag.default : parseValue(name, flag, value);
  }
  for (const [name, { harmless, reason }] of Object.entries(refused)) {
    const value = given.get(name);
    if (value !== undefined && !harmless.includes(value)) {
      throw invalidArgument(`flag --${name}=${value} cannot be honoured: ${reason}`);
    }
  }
  const isSet = (name: string) => Number(given.get(name) ?? 0) > 0;
  if (["session", "intra_op", "inter_op"].every((each) => isSet(`tensorflow_${each}_parallelism`))) {
    throw invalidArgument(
      "Either configure server_options.tensorflow_session_parallelism or (server_options.tensorflow_intra_op_parallelism, " +
        "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all.",
    );
  }
  const result = options as Options;
  if (result.port === 0 && result.grpc_socket_path === "") {
    throw invalidArgument("At least one of server_options.grpc_port or server_options.grpc_socket_path must be set.");
  }
  if (result.batching_parameters_file !== "" && !result.enable_batching) {
    throw invalidArgument(
      "server_options.batching_parameters_file is set without setting server_options.enable_batching to true.",
    );
  }
  if (result.port !== 0 && result.port === result.rest_api_port) {
    throw invalidArgument(`flags --port and --rest_api_port must differ; both are ${result.port}`);
  }
  if (result.model_repository !== "" && (result.model_config_file !== "" || result.model_base_path !== "")) {
    throw invalidArgument("flag --model_repository does not go with --model_config_file or --model_base_path");
  }
  if (result.load_model !== "" && result.model_control_mode !== "explicit") {
    throw invalidArgument("flag --load_model takes effect with --model_control_mode=explicit only");
  }
  if (result.model_control_mode !== "none" && result.model_repository === "") {
    throw invalidArgument("flag --model_control_mode goes with --model_repository");
  }
  return { options: Object.freeze(result), ignored: notes };
}

function parseValue(name: string, flag: Flag<unknown>, value: string): unknown {
  const refuse = (expected: string) => invalidArgument(`flag --${name} takes ${expected}; got "${value}"`);
  switch (flag.type) {
    case "bool":
      if (value !== "true" && value !== "false") throw refuse("true or false");
      return value === "true";
    case "int": {
      const { min = -Number.MAX_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = flag;
      const number = Number(value);
      if (!/^-?\d+$/.test(value) || number < min || number > max) {
        const unbounded = flag.min === undefined && flag.max === undefined;
        throw refuse(unbounded ? "a whole number" : `a whole number from ${min} to ${max}`);
      }
      return number;
    }
    case "float":
      if (value.trim() === "" || !Number.isFinite(Number(value))) throw refuse("a number");
      return Number(value);
    case "string":
      if (flag.oneOf !== undefined && !flag.oneOf.includes(value)) throw refuse(`one of ${flag.oneOf.join(", ")}`);
      return value;
  }
}

function requireKnown(name: string, what: string): string {
  if (Object.hasOwn(flags, name) || Object.hasOwn(refused, name)) return name;
  const nearest = nearestOf(name, [...Object.keys(flags), ...Object.keys(refused), "help", "version"]);
  throw invalidArgument(`unknown ${what}${nearest === undefined ? "" : `; did you mean --${nearest}?`}`);
}

function unknownWord(word: string): StatusError {
  return invalidArgument(
    `unexpected argument "${word}"; flags look like --name=value, and onnxd --help lists the commands`,
  );
}

function isRepeated(name: string): boolean {
  return Object.hasOwn(flags, name) && (flags[name as Name] as Flag<unknown>).repeated === true;
}

function isBool(name: string): boolean {
  if (Object.hasOwn(flags, name)) return flags[name as Name].type === "bool";
  return refused[name]!.harmless.some((value) => value === "true" || value === "false");
}

/** The candidate with the fewest single-letter edits, when it is near enough to be a slip. */
function nearestOf(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/** What --help prints. */
export function helpText(): string {
  const lines = [
    "onnxd serves ONNX models over TensorFlow Serving's gRPC and REST APIs.",
    "",
    "usage: onnxd [serve] [--name=value …]",
    "       onnxd predict|models|status|metadata …   asks a server; onnxd predict --help says how",
    "       onnxd train|jobs|evaluate …              trains models at a server; onnxd train --help says how",
    "",
    "Each flag may also be written --name value, with dashes for underscores, and be given as ONNXD_NAME in the environment.",
    "",
  ];
  const section = (title: string, standing: Standing) => {
    lines.push(title, "");
    for (const [name, flag] of Object.entries(flags) as [string, Flag<unknown>][]) {
      if (flag.standing !== standing) continue;
      const value = standing === "ignored" ? flag.type : `${flag.default === "" ? '""' : flag.default}`;
      lines.push(`  --${name}=${value}`, `      ${flag.doc}${flag.oneOf ? ` One of ${flag.oneOf.join(", ")}.` : ""}`);
    }
    lines.push("");
  };
  section("TensorFlow Serving's flags", "compatible");
  section("Our own", "own");
  section("TensorFlow Serving's flags that are accepted and have no effect", "ignored");
  lines.push("  --help", "  --version");
  return lines.join("\n");
}
