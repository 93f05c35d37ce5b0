// Which version of which model a request means, and Triton's words when there is none.
import type { ModelRepository, ServableHandle, VersionStatus } from "../../serving/index.js";
import { Code, invalidArgument, notFound, StatusError, unavailable } from "../../status.js";

/**
 * The version, held until the handle is disposed.
 * @param version a number in decimal; "" stands for the newest that is ready
 * @throws INVALID_ARGUMENT for a version that is no number, NOT_FOUND, and UNAVAILABLE for a version that is not ready
 */
export function findServable(repository: ModelRepository, name: string, version: string): ServableHandle {
  const number = parseVersion(version);
  try {
    return repository.getServableHandle({
      name,
      signatureName: "",
      ...(number !== undefined && { version: number }),
    });
  } catch (thrown) {
    if (!(thrown instanceof StatusError)) throw thrown;
    if (thrown.code !== Code.NOT_FOUND && name !== "") throw thrown;
    throw notServed(repository, name, number);
  }
}

/** undefined for "". */
export function parseVersion(text: string): bigint | undefined {
  if (text === "") return undefined;
  const should = "version should be an integral value > 0";
  if (!/^-?\d{1,19}$/.test(text) || BigInt(text) >= 2n ** 63n) {
    throw invalidArgument(
      `failed to get model version from specified version string '${text}' (details: not a number), ${should}`,
    );
  }
  const number = BigInt(text);
  if (number < 0n) throw invalidArgument(`invalid model version specified '${text}' , ${should}`);
  return number;
}

function notServed(repository: ModelRepository, name: string, version: bigint | undefined): StatusError {
  const model = repository.getModel(name);
  const unknown = `Request for unknown model: '${name}'`;
  if (model === undefined) return notFound(`${unknown} is not found`);
  if (version === undefined) return notFound(`${unknown} has no available versions`);
  const status = model.versions.find((each) => each.version === version);
  if (status === undefined) return notFound(`${unknown} version ${version} is not found`);
  return unavailable(`${unknown} version ${version} is not at ready state${because(status)}`);
}

function because({ error }: VersionStatus): string {
  return error === undefined ? "" : `: ${error.message}`;
}
