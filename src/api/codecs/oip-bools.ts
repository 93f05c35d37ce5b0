import { invalidArgument } from "../../status.js";

/** The runtime takes a bool's byte for 0 or 1; what another would mean, nobody has said. @throws INVALID_ARGUMENT */
export function requireBools(bytes: Uint8Array): void {
  for (let index = 0; index < bytes.length; index++) {
    if (bytes[index]! > 1)
      throw invalidArgument(`element ${index} of a BOOL tensor is ${bytes[index]}; expected 0 or 1`);
  }
}
