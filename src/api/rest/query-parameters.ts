import { invalidArgument } from "../../status.js";

/** The parameters of a URL, of which a call knows some. */
export class QueryParameters {
  readonly #values: URLSearchParams;

  /**
   * @param query what comes behind the question mark
   * @throws INVALID_ARGUMENT for a parameter that is not known, and for one that is there twice
   */
  constructor(query: string, known: readonly string[], repeatable: readonly string[] = []) {
    this.#values = new URLSearchParams(query);
    const all = [...known, ...repeatable];
    for (const name of new Set(this.#values.keys())) {
      if (!all.includes(name)) {
        throw invalidArgument(
          `there is no parameter "${name}" here; ${all.length === 0 ? "there are none" : `there are ${all.join(", ")}`}`,
        );
      }
      if (known.includes(name) && this.#values.getAll(name).length > 1) {
        throw invalidArgument(`parameter ${name} is there more than once`);
      }
    }
  }

  /** undefined: it is not there. */
  text(name: string): string | undefined {
    return this.#values.get(name) ?? undefined;
  }

  /** Those of the parameters that are there. */
  texts(...names: readonly string[]): Record<string, string> {
    return Object.fromEntries(
      names.flatMap((name) => {
        const value = this.text(name);
        return value === undefined ? [] : [[name, value]];
      }),
    );
  }

  /** A whole number of 0 or more. Default 0. */
  whole(name: string): bigint {
    const value = this.text(name) ?? "0";
    if (/^\d{1,19}$/.test(value)) return BigInt(value);
    throw invalidArgument(`parameter ${name} must be a whole number; got "${value}"`);
  }

  /** "a,b", or the parameter several times. */
  list(name: string): string[] {
    return this.#values
      .getAll(name)
      .flatMap((value) => value.split(","))
      .filter((value) => value !== "");
  }

  /** Default false; a name alone counts as true. */
  flag(name: string): boolean {
    const value = this.text(name);
    if (value === undefined || value === "false") return false;
    if (value === "" || value === "true") return true;
    throw invalidArgument(`parameter ${name} must be true or false; got "${value}"`);
  }
}
