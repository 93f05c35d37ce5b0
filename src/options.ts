// How options are checked, and how a refusal is worded: name, what was expected, what came.
import { invalidArgument } from "./status.js";

export function requireInteger(name: string, value: number, bounds: { min?: number; max?: number } = {}): void {
  const { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER } = bounds;
  if (!Number.isInteger(value) || value < min || value > max) {
    throw invalidArgument(`${name} must be a whole number ${describeBounds(bounds)}; got ${value}`);
  }
}

/** Bounds are inclusive but for `above` and `below`. A number that is not finite is never within them. */
export function requireNumber(
  name: string,
  value: number,
  bounds: { min?: number; max?: number; above?: number; below?: number },
): void {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY, above, below } = bounds;
  const inside =
    value >= min && value <= max && (above === undefined || value > above) && (below === undefined || value < below);
  if (Number.isFinite(value) && inside) return;
  const wanted = [
    bounds.min !== undefined && `at least ${min}`,
    above !== undefined && `above ${above}`,
    bounds.max !== undefined && `at most ${max}`,
    below !== undefined && `below ${below}`,
  ];
  throw invalidArgument(`${name} must be a number ${wanted.filter(Boolean).join(" and ")}; got ${value}`);
}

export function requireOneOf<T extends string>(name: string, value: string, allowed: readonly T[]): asserts value is T {
  if (!(allowed as readonly string[]).includes(value)) {
    throw invalidArgument(`${name} must be one of ${allowed.join(", ")}; got "${value}"`);
  }
}

function describeBounds({ min, max }: { min?: number; max?: number }): string {
  if (min !== undefined && max !== undefined) return `from ${min} to ${max}`;
  if (min !== undefined) return `of at least ${min}`;
  if (max !== undefined) return `of at most ${max}`;
  return "that a double holds exactly";
}
