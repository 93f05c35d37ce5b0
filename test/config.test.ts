import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { flags, helpText, parseCommandLine, refused } from "../src/config.js";
import { StatusError } from "../src/status.js";

const parse = (...argv: string[]) => parseCommandLine(argv, {});
const refusal = (argv: string[], env: NodeJS.ProcessEnv = {}): string => {
  try {
    parseCommandLine(argv, env);
  } catch (error) {
    assert.ok(error instanceof StatusError);
    return error.message;
  }
  assert.fail(`${argv.join(" ")} was accepted`);
};

describe("the command line", () => {
  it("has TensorFlow Serving's defaults, but for REST and health, which are on", () => {
    const { options } = parse();
    assert.equal(options.port, 8500);
    assert.equal(options.rest_api_port, 8501);
    assert.equal(options.model_name, "default");
    assert.equal(options.file_system_poll_wait_seconds, 1);
    assert.equal(options.max_num_load_retries, 5);
    assert.equal(options.load_retry_interval_micros, 60_000_000);
    assert.equal(options.enable_grpc_healthcheck_service, true);
  });

  it("takes the word serve, or does without", () => {
    assert.equal(parse("serve", "--port=1").options.port, 1);
    assert.equal(parse("--port=1").options.port, 1);
  });

  it("takes --name=value, --name value, dashes for underscores, and bare bools", () => {
    for (const argv of [
      ["--rest_api_port=9"],
      ["--rest_api_port", "9"],
      ["--rest-api-port=9"],
      ["--rest-api-port", "9"],
    ]) {
      assert.equal(parse(...argv).options.rest_api_port, 9);
    }
    assert.equal(parse("--strict_startup").options.strict_startup, true);
    assert.equal(parse("--strict_startup", "false", "--port=7").options.strict_startup, false);
    assert.equal(parse("--strict_startup", "--port=7").options.port, 7);
    assert.equal(parse("--model_base_path=/a=b").options.model_base_path, "/a=b");
  });

  it("reads the environment, which the command line overrules", () => {
    assert.equal(parseCommandLine([], { ONNXD_PORT: "7" }).options.port, 7);
    assert.equal(parseCommandLine(["--port=8"], { ONNXD_PORT: "7" }).options.port, 8);
    assert.match(refusal([], { ONNXD_PORTT: "7" }), /environment variable ONNXD_PORTT; did you mean --port\?/);
  });

  it("is not disturbed by the variables Kubernetes sets for a service named onnxd", () => {
    const env = {
      ONNXD_SERVICE_HOST: "10.0.0.1",
      ONNXD_SERVICE_PORT: "8500",
      ONNXD_SERVICE_PORT_GRPC: "8500",
      ONNXD_PORT: "tcp://10.0.0.1:8500",
      ONNXD_PORT_8500_TCP_ADDR: "10.0.0.1",
    };
    assert.equal(parseCommandLine([], env).options.port, 8500);
  });

  it("is not disturbed by the variables Kubernetes sets for services whose names begin with onnxd-", () => {
    const env = {
      ONNXD_REST_API_SERVICE_HOST: "10.0.0.1",
      ONNXD_REST_API_SERVICE_PORT: "8501",
      ONNXD_REST_API_PORT: "tcp://10.0.0.1:9",
      ONNXD_REST_API_PORT_8501_TCP: "tcp://10.0.0.1:9",
      ONNXD_GRPC_PORT: "tcp://10.0.0.1:9",
      ONNXD_GRPC_PORT_8500_TCP_PROTO: "tcp",
    };
    assert.equal(parseCommandLine([], env).options.rest_api_port, 8501);
    assert.match(refusal([], { ONNXD_REST_API_PORT: "high" }), /--rest_api_port takes a whole number/);
  });

  it("is not disturbed by the variable that tells client commands where the server is", () => {
    assert.equal(parseCommandLine([], { ONNXD_TARGET: "models:8500" }).options.port, 8500);
  });

  it("refuses a wrong flag by name, with the nearest there is", () => {
    assert.match(refusal(["--rest_api_prot=1"]), /unknown flag --rest_api_prot; did you mean --rest_api_port\?/);
    assert.match(refusal(["--batching_parameter_file=x"]), /did you mean --batching_parameters_file\?/);
    assert.doesNotMatch(refusal(["--xyzzyxyzzyxyzzy"]), /did you mean/);
    assert.match(refusal(["--__proto__=1"]), /unknown flag --__proto__/);
    assert.match(refusal(["train"]), /unexpected argument "train"/);
  });

  it("takes what may be repeated as often as it is given, and refuses what does not go together", () => {
    const { options } = parse(
      "--model_repository=/a",
      "--model-repository",
      "/b",
      "--model_control_mode=explicit",
      "--load-model=x",
      "--load_model=y",
    );
    assert.equal(options.model_repository, "/a,/b");
    assert.equal(options.load_model, "x,y");
    assert.equal(parse("--port=1", "--port=2").options.port, 2);
    assert.match(refusal(["--model_repository=/a", "--model_base_path=/b"]), /--model_repository does not go with/);
    assert.match(refusal(["--model_repository=/a", "--load_model=x"]), /--model_control_mode=explicit only/);
    assert.match(refusal(["--model_control_mode=poll"]), /goes with --model_repository/);
    assert.match(refusal(["--management=maybe"]), /local, open, off/);
  });

  it("refuses a wrong value by name, saying what the flag takes", () => {
    assert.match(refusal(["--port=http"]), /flag --port takes a whole number from 0 to 65535; got "http"/);
    assert.match(refusal(["--port=65536"]), /from 0 to 65535/);
    assert.match(refusal(["--port=1e3"]), /got "1e3"/);
    assert.match(refusal(["--port="]), /got ""/);
    assert.match(refusal(["--strict_startup=1"]), /takes true or false; got "1"/);
    assert.match(refusal(["--log_format=xml"]), /takes one of json, text; got "xml"/);
    assert.match(refusal(["--model_name"]), /--model_name takes a value/);
  });

  it("refuses no port at all, and one port for two doors, in TensorFlow Serving's words where it has them", () => {
    assert.match(
      refusal(["--port=0"]),
      /At least one of server_options\.grpc_port or server_options\.grpc_socket_path must be set\./,
    );
    assert.equal(parse("--port=0", "--grpc_socket_path=/tmp/s").options.port, 0);
    assert.match(refusal(["--port=8501"]), /must differ/);
  });

  it("accepts TensorFlow Serving's other flags, and says that they have no effect", () => {
    const { ignored } = parse("--saved_model_tags=serve", "--enable_profiler", "--num_tflite_pools=3");
    assert.equal(ignored.length, 3);
    assert.match(ignored.join("\n"), /--saved_model_tags is accepted and has no effect/);
  });

  it("refuses what would change the answers and cannot be honoured", () => {
    for (const [name, { harmless }] of Object.entries(refused)) {
      for (const value of harmless) parse(`--${name}=${value}`);
    }
    assert.match(refusal(["--use_alts_credentials=true"]), /--use_alts_credentials=true cannot be honoured/);
  });

  it("prints every flag in --help", () => {
    assert.equal(parse("--help").command, "help");
    assert.equal(parse("--version").command, "version");
    const help = helpText();
    for (const name of Object.keys(flags)) assert.ok(help.includes(`--${name}=`), name);
  });
});
