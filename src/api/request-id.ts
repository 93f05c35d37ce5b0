import { randomBytes } from "node:crypto";

export const requestIdKey = "x-request-id";
const maxRequestIdLength = 128;

/** Whether a client's own id may stand in logs and headers: printable ASCII, and not long. */
export function isRequestId(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= maxRequestIdLength && /^[!-~]+$/.test(value);
}

const digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
/** Numbers from 0 to 4095 in two digits. */
const pairs = Array.from(digits).flatMap((first) => Array.from(digits, (second) => first + second));

/**
 * Ids that no other process and no other call has: six digits of 64 at random, six that count. With twelve characters they
 * are as long as a string may be for V8 to join it at once; longer ones are joined where they are read, at a cost.
 */
export function requestIds(): () => string {
  let random = "";
  let high = pairs.length ** 2 - 1;
  let low = pairs.length;
  let head = "";
  return () => {
    if (low === pairs.length) {
      low = 0;
      high = (high + 1) % pairs.length ** 2;
      if (high === 0) random = randomBytes(6).reduce((text, byte) => text + digits[byte % 64]!, "");
      head = random + pairs[Math.floor(high / pairs.length)]! + pairs[high % pairs.length]!;
    }
    return head + pairs[low++]!;
  };
}
