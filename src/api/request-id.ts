import { randomBytes } from "node:crypto";

export const requestIdKey = "x-request-id";
const maxRequestIdLength = 128;

/** Whether a client's own id may stand in logs and headers: printable ASCII, and not long. */
export function isRequestId(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= maxRequestIdLength && /^[!-~]+$/.test(value);
}

/** Ids that no other process and no other call has: random once, counted from there. */
export function requestIds(): () => string {
  const prefix = randomBytes(6).toString("hex");
  let count = 0;
  return () => `${prefix}-${count++}`;
}
