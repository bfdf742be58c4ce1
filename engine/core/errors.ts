/** A request that the engine refuses: the message names the operator, what it got, what it wanted, and the fix. */
export class VoxgradError extends Error {
  override name = "VoxgradError";
}

/** A shape as it is written in messages: [2, 3, 4]. */
export const show = (value: unknown): string =>
  Array.isArray(value)
    ? `[${value.map((v) => show(v)).join(", ")}]`
    : typeof value === "string"
      ? `"${value}"`
      : String(value);

/** Throws `OPERATOR: MESSAGE`. */
export function fail(operator: string, message: string): never {
  throw new VoxgradError(`${operator}: ${message}`);
}

/** Throws unless `condition` holds; the message is only built then. */
export function check(condition: boolean, operator: string, message: () => string): asserts condition {
  if (!condition) fail(operator, message());
}

/** Rejects option names that the operator does not have, listing those it has. */
export function checkOptions(operator: string, options: object, known: readonly string[]): void {
  check(typeof options === "object" && options !== null, operator, () => `options are an object, got ${show(options)}`);
  for (const key of Object.keys(options)) {
    check(known.includes(key), operator, () => `unknown option ${show(key)}; it takes ${known.join(", ") || "none"}`);
  }
}
