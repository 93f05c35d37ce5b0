import { type Code, StatusError } from "../status.js";

/**
 * What the runtime said when a run failed, as against what was refused before there was a run. Its code is
 * INVALID_ARGUMENT when the values seem to blame; doors that call every failed run INTERNAL can tell it by its class.
 */
export class RunError extends StatusError {
  constructor(code: Code, message: string) {
    super(code, message);
    this.name = "RunError";
  }
}
