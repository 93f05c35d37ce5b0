/** The fields that are there. In plain data an option that is not given is left out, so that its default holds. */
export function givenFields<T extends object>(fields: T): { [Name in keyof T]?: Exclude<T[Name], undefined> } {
  const given: { [Name in keyof T]?: Exclude<T[Name], undefined> } = {};
  for (const name of Object.keys(fields) as (keyof T)[]) {
    const value = fields[name];
    if (value !== undefined) given[name] = value as Exclude<T[typeof name], undefined>;
  }
  return given;
}

/** A proto3 field without presence: its zero value says nothing. NaN is not zero, and is left to be refused. */
export function unlessZero<T extends string | number>(value: T): T | undefined {
  return value === "" || value === 0 ? undefined : value;
}
