/** Lets everything run that waits for nothing but its turn: promise reactions, and what they set off. */
export async function eventLoopTurns(turns = 5): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}
