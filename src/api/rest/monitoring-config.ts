import { textProto } from "../../serving/index.js";
import { invalidArgument } from "../../status.js";

const { bool, message, optional, readTextProtoFile, singular, string } = textProto;

/** tensorflow.serving.MonitoringConfig. */
const monitoringConfigType = message("tensorflow.serving.MonitoringConfig", {
  prometheus_config: optional(
    message("tensorflow.serving.PrometheusConfig", { enable: singular(bool), path: singular(string) }),
  ),
});

/**
 * The path that a file behind --monitoring_config_file asks the metrics to be served at; undefined when it asks for none
 * of its own. The metrics are on whatever it says of `enable`: nothing here costs more with them off.
 * @throws INVALID_ARGUMENT for a file that is not there or cannot be read, and for a path without a slash in front
 */
export async function readMetricsPath(file: string): Promise<string | undefined> {
  const config = await readTextProtoFile(file, monitoringConfigType);
  if (config === undefined) throw invalidArgument(`monitoring config file ${file} is not there`);
  const path = config.prometheus_config?.path ?? "";
  if (path === "") return undefined;
  if (!path.startsWith("/"))
    throw invalidArgument(`${file}: prometheus_config.path must begin with "/"; got "${path}"`);
  return path;
}
