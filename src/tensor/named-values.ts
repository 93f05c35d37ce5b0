/** Up to so many names are compared one by one; beyond, they are looked up in a Map. */
const comparedNames = 8;

/**
 * A map from names to values for a call's tensors: mostly one or two, made for every call. Two arrays side by side cost a
 * fraction of a Map, and the names can be shared by all calls of a signature. Iterates in the order of the names.
 */
export class NamedValues<V> implements ReadonlyMap<string, V> {
  readonly names: readonly string[];
  readonly items: readonly V[];
  /** Made at the first look-up among many names. */
  #index: Map<string, number> | undefined;

  /** Keeps both arrays, which must not change any more: the names, each once, and the value of each. */
  constructor(names: readonly string[], items: readonly V[]) {
    this.names = names;
    this.items = items;
  }

  /** The same, when it is one; a copy otherwise. */
  static from<V>(map: ReadonlyMap<string, V>): NamedValues<V> {
    return map instanceof NamedValues ? map : new NamedValues([...map.keys()], [...map.values()]);
  }

  get size(): number {
    return this.names.length;
  }

  get(name: string): V | undefined {
    const index = this.#indexOf(name);
    return index < 0 ? undefined : this.items[index];
  }

  has(name: string): boolean {
    return this.#indexOf(name) >= 0;
  }

  #indexOf(name: string): number {
    const { names } = this;
    if (names.length > comparedNames) {
      this.#index ??= new Map(names.map((each, index) => [each, index]));
      return this.#index.get(name) ?? -1;
    }
    for (let index = 0; index < names.length; index++) if (names[index] === name) return index;
    return -1;
  }

  forEach(use: (value: V, name: string, map: ReadonlyMap<string, V>) => void): void {
    for (let index = 0; index < this.names.length; index++) use(this.items[index]!, this.names[index]!, this);
  }

  *entries(): Generator<[string, V], undefined> {
    for (let index = 0; index < this.names.length; index++) yield [this.names[index]!, this.items[index]!];
  }

  *keys(): Generator<string, undefined> {
    yield* this.names;
  }

  *values(): Generator<V, undefined> {
    yield* this.items;
  }

  [Symbol.iterator](): Generator<[string, V], undefined> {
    return this.entries();
  }
}
