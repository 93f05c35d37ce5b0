// The one error vocabulary: the canonical status codes of gRPC and TensorFlow, and the error that carries one.

/** Canonical codes, numbered as on the wire. */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;
export type CodeName = keyof typeof Code;
export type Code = (typeof Code)[CodeName];

const names = new Map<Code, CodeName>(Object.entries(Code).map(([name, code]) => [code, name as CodeName]));

export function codeName(code: Code): CodeName {
  return names.get(code) ?? "UNKNOWN";
}

/**
 * An error that is expected and travels to the client: the code tells the machine, the sentence tells the person.
 * Anything else that is thrown is a defect of ours: the door logs it with its stack and answers INTERNAL.
 */
export class StatusError extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "StatusError";
    this.code = code;
  }
}

type Make = (message: string, options?: ErrorOptions) => StatusError;
const make =
  (code: Code): Make =>
  (message, options) =>
    new StatusError(code, message, options);

export const cancelled = make(Code.CANCELLED);
export const unknown = make(Code.UNKNOWN);
export const invalidArgument = make(Code.INVALID_ARGUMENT);
export const deadlineExceeded = make(Code.DEADLINE_EXCEEDED);
export const notFound = make(Code.NOT_FOUND);
export const alreadyExists = make(Code.ALREADY_EXISTS);
export const permissionDenied = make(Code.PERMISSION_DENIED);
export const resourceExhausted = make(Code.RESOURCE_EXHAUSTED);
export const failedPrecondition = make(Code.FAILED_PRECONDITION);
export const aborted = make(Code.ABORTED);
export const outOfRange = make(Code.OUT_OF_RANGE);
export const unimplemented = make(Code.UNIMPLEMENTED);
export const internal = make(Code.INTERNAL);
export const unavailable = make(Code.UNAVAILABLE);
export const dataLoss = make(Code.DATA_LOSS);

/** The reason of anything thrown, for logs and for statuses that wrap a library's error. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
