import { StatusError } from "../status.js";

/** Runs something over rows that were given to validate on: what is wrong with one of them says so. */
export function ofValidation<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    throw new StatusError(error.code, `validation data: ${error.message}`, { cause: error });
  }
}
