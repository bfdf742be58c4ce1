/** A request that the engine refuses: the message names the operator, what it got, what it wanted, and the fix. */
export class VoxgradError extends Error {
  override name = "VoxgradError";
}

/** Whether a value is an object with entries of its own alone, such as options, and no array, tensor or other class. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/** A value as it is written in messages: [2, 3, 4], "linear", Tensor(f32[2]), { axis }, a Float32Array. */
export function show(value: unknown): string {
  if (Array.isArray(value)) {
    const shown = value.slice(0, 16).map((v) => show(v));
    return `[${(value.length > 16 ? [...shown, `... ${value.length} in all`] : shown).join(", ")}]`;
  }
  if (typeof value === "string") return `"${value}"`;
  if (typeof value === "function") return `a function`;
  if (typeof value !== "object" || value === null) return String(value);
  if (isPlain(value)) {
    const keys = Object.keys(value);
    return keys.length === 0 ? "{}" : `{ ${keys.join(", ")} }`;
  }
  // A class says how it is written, or only its name.
  const text = ArrayBuffer.isView(value) ? "" : String(value);
  return text === "" || text.startsWith("[object") ? `a ${value.constructor?.name ?? "object"}` : text;
}

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
  check(isPlain(options), operator, () => `options are an object, got ${show(options)}${meant(options, known)}`);
  for (const key of Object.keys(options)) {
    check(known.includes(key), operator, () => `unknown option ${show(key)}; it takes ${known.join(", ") || "none"}`);
  }
}

/** The call that is meant where a value stands in the place of options. */
function meant(value: unknown, known: readonly string[]): string {
  if (known.length === 0) return "; it takes none";
  const plain = typeof value === "number" || typeof value === "string" || (Array.isArray(value) && value.length > 0);
  if (!plain) return `; it takes { ${known.join(", ")} }`;
  const first = known[0]!;
  return `; write { ${first}: ${first === "axes" && !Array.isArray(value) ? `[${show(value)}]` : show(value)} }`;
}

/** Rejects options given to a function that takes none; other arguments too many may be those of a callback. */
export function refuseOptions(operator: string, rest: readonly unknown[]): void {
  const given = rest.find((value) => isPlain(value));
  check(given === undefined, operator, () => `it takes no options, got ${show(given)}`);
}

/** For messages: what to do about a number that is a tensor because a compiled function was given it. */
export const ifTraced = (value: unknown): string =>
  /^Tensor\(/.test(show(value))
    ? "; inside a compiled function numbers are tensors: list the argument's position k in compile(f, { static: [k] })"
    : "";

/** Rejects an option that is neither true nor false; one that is not given is false. */
export function checkFlag(operator: string, name: string, value: unknown): void {
  check(
    value === undefined || value === null || typeof value === "boolean",
    operator,
    () => `${name} is true or false, got ${show(value)}`,
  );
}

/** Rejects an option that is no number, or NaN. */
export function checkNumber(operator: string, name: string, value: unknown): asserts value is number {
  check(typeof value === "number" && !Number.isNaN(value), operator, () => `${name} is a number, got ${show(value)}${ifTraced(value)}`);
}

/** Rejects what is no function. */
export function checkFunction(operator: string, name: string, value: unknown): void {
  check(typeof value === "function", operator, () => `${name} is a function, got ${show(value)}`);
}
