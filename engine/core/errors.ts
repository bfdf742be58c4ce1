// Marks errors whose message is complete for a command line. A global symbol, because hosts import nothing from the
// engine.
const FOR_USER: unique symbol = Symbol.for("voxgrad.forUser");

/**
 * An error of the user's request: the message names the operator, what it got, what it expected, and the fix. It stays
 * below 2 kB and contains no control characters but line breaks, whatever names and values it includes.
 */
export class VoxgradError extends Error {
  override name = "VoxgradError";

  get [FOR_USER](): boolean {
    return true;
  }

  constructor(message = "", options?: { cause?: unknown }) {
    super(bounded(message), options);
  }
}

/** Maximum message size in UTF-8 bytes. */
const LARGEST_MESSAGE = 2000;
// Control characters, which terminals interpret; lone surrogates; marks that change the direction of text.
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Escapes a string from a file or user for one line: control characters become \u001b and similar.
 *
 * @example
 * ```ts
 * import { escaped } from "voxgrad";
 *
 * escaped("a\nb"); // "a\\u000ab"
 * ```
 */
export const escaped = (text: string): string =>
  text.replace(UNPRINTABLE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A multi-line message, escaped, and cut in the middle if too long: the fix is at the end. */
export function bounded(message: string): string {
  for (let most = LARGEST_MESSAGE;; most = Math.floor(most * 0.8)) {
    const text = cut(message, most).split("\n").map(escaped).join("\n");
    if (new TextEncoder().encode(text).length <= LARGEST_MESSAGE) return text;
  }
}

/** Cuts a string to at most `most` characters, with a note about what was cut from the middle. */
function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  const kept = Math.max(0, most - 40);
  const [head, tail] = [Math.ceil((2 * kept) / 3), Math.floor(kept / 3)];
  return `${text.slice(0, head)} ... (${text.length - kept} characters) ... ${text.slice(text.length - tail)}`;
}

/**
 * A comma-separated list of names for a message: the first few and the total.
 *
 * @example
 * ```ts
 * import { listed } from "voxgrad";
 *
 * listed(["a", "b", "c"], 2); // "a, b, ... (3 in all)"
 * ```
 */
export function listed(names: Iterable<string>, most = 12): string {
  const all = [...names];
  const head = all.slice(0, most).map((name) => escaped(cut(name, 120)));
  return (all.length > most ? [...head, `... (${all.length} in all)`] : head).join(", ");
}

/**
 * Whether a value is a plain object, such as options: no array, tensor or other class instance, and no inherited
 * entries.
 *
 * @example
 * ```ts
 * import { isPlain } from "voxgrad";
 *
 * isPlain({ sigma: 2 }); // true
 * isPlain([2]); // false
 * ```
 */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/**
 * Formats a value for messages: [2, 3, 4], "linear", Tensor(f32[2]), { axis }, a Float32Array. At most about 500
 * characters for any value.
 *
 * @example
 * ```ts
 * import { show } from "voxgrad";
 *
 * show([2, 3, { axis: 1 }]); // "[2, 3, { axis }]"
 * ```
 */
export const show = (value: unknown): string => cut(format(value, 0), 500);

/** Maximum number of elements shown per list, by nesting depth. */
const ELEMENTS = [16, 8, 4];

function format(value: unknown, depth: number): string {
  if (Array.isArray(value)) {
    if (depth >= ELEMENTS.length && value.length > 0) return "[...]";
    const list = value.slice(0, ELEMENTS[depth]).map((v) => format(v, depth + 1));
    return `[${(value.length > list.length ? [...list, `... ${value.length} in all`] : list).join(", ")}]`;
  }
  if (typeof value === "string") return `"${escaped(cut(value, 200))}"`;
  if (typeof value === "function") return `a function`;
  if (typeof value !== "object" || value === null) return String(value);
  if (isPlain(value)) {
    const keys = Object.keys(value);
    return keys.length === 0 ? "{}" : `{ ${listed(keys, 16)} }`;
  }
  // Use the class's own toString if it has one, otherwise its name.
  const text = ArrayBuffer.isView(value) ? "" : String(value);
  return text === "" || text.startsWith("[object") ? `a ${value.constructor?.name ?? "object"}` : text;
}

/** Throws `OPERATOR: MESSAGE`. */
export function fail(operator: string, message: string): never {
  throw new VoxgradError(`${operator}: ${message}`);
}

/**
 * Throws unless `condition` holds; the message is built only then.
 *
 * @example
 * ```ts
 * import { check } from "voxgrad";
 *
 * const width = 16;
 * check(width % 8 === 0, "patch", () => `the width is a multiple of 8, got ${width}`);
 * ```
 */
export function check(condition: boolean, operator: string, message: () => string): asserts condition {
  if (!condition) fail(operator, message());
}

/**
 * Rejects unknown option names and lists the known ones.
 *
 * @example
 * ```ts
 * import { checkOptions, type Tensor } from "voxgrad";
 *
 * function halve(x: Tensor, options: { keep?: boolean } = {}): Tensor {
 *   checkOptions("halve", options, ["keep"]);
 *   return options.keep ? x : x.mul(0.5);
 * }
 * ```
 */
export function checkOptions(operator: string, options: object, known: readonly string[]): void {
  check(isPlain(options), operator, () => `options are an object, got ${show(options)}${suggestion(options, known)}`);
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) fail(operator, `unknown option ${show(key)}; it takes ${known.join(", ") || "none"}`);
  }
}

/** The call that was probably intended if a value was passed instead of options. */
function suggestion(value: unknown, known: readonly string[]): string {
  if (known.length === 0) return "; it takes none";
  const plain = typeof value === "number" || typeof value === "string" || (Array.isArray(value) && value.length > 0);
  if (!plain) return `; it takes { ${known.join(", ")} }`;
  const first = known[0];
  return `; write { ${first}: ${first === "axes" && !Array.isArray(value) ? `[${show(value)}]` : show(value)} }`;
}

/**
 * Rejects options passed to a function that takes none. Other extra arguments are ignored, since callbacks may get
 * some.
 */
export function refuseOptions(operator: string, rest: readonly unknown[]): void {
  const given = rest.find((value) => isPlain(value));
  check(given === undefined, operator, () => `it takes no options, got ${show(given)}`);
}

/** For messages: how to fix a number that is a tensor because it was passed to a compiled function. */
export const ifTraced = (value: unknown): string =>
  /^Tensor\(/.test(show(value))
    ? "; inside a compiled function numbers are tensors: list the argument's position k in compile(f, { static: [k] })"
    : "";

/** Rejects an option that is neither true nor false; undefined means false. */
export function checkFlag(operator: string, name: string, value: unknown): void {
  check(
    value === undefined || value === null || typeof value === "boolean",
    operator,
    () => `${name} is true or false, got ${show(value)}`,
  );
}

/** Rejects an option that is not a number, or is NaN. */
export function checkNumber(operator: string, name: string, value: unknown): asserts value is number {
  check(
    typeof value === "number" && !Number.isNaN(value),
    operator,
    () => `${name} is a number, got ${show(value)}${ifTraced(value)}`,
  );
}

/** Rejects anything but a function. */
export function checkFunction(operator: string, name: string, value: unknown): void {
  check(typeof value === "function", operator, () => `${name} is a function, got ${show(value)}`);
}
