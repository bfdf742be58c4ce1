// By which a command line knows an error whose message says all: hosts import nothing of the engine.
const FOR_USER: unique symbol = Symbol.for("voxgrad.forUser");

/**
 * A request that the engine refuses: the message names the operator, what it got, what it wanted, and the fix. Whatever
 * names and values went into it, it stays below 2 kB and holds no control characters but line breaks.
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

/** Bytes that a message takes at most, in UTF-8. */
const LARGEST_MESSAGE = 2000;
// Control characters, which a terminal obeys; halves of characters; marks that turn the direction of what follows.
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/**
 * A text that comes from a file or a user, for one line: what a terminal would obey is written as \u001b.
 *
 * @example
 * ```ts
 * escaped("a\nb"); // "a\\u000ab"
 * ```
 */
export const escaped = (text: string): string =>
  text.replace(UNPRINTABLE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A message of several lines, escaped, and cut in its middle where it is too long: the fix stands at its end. */
export function bounded(message: string): string {
  for (let most = LARGEST_MESSAGE;; most = Math.floor(most * 0.8)) {
    const text = cut(message, most).split("\n").map(escaped).join("\n");
    if (new TextEncoder().encode(text).length <= LARGEST_MESSAGE) return text;
  }
}

/** A text of at most `most` characters, and some words about what was left out of its middle. */
function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  const kept = Math.max(0, most - 40);
  const [head, tail] = [Math.ceil((2 * kept) / 3), Math.floor(kept / 3)];
  return `${text.slice(0, head)} ... (${text.length - kept} characters) ... ${text.slice(text.length - tail)}`;
}

/**
 * Names in a message, with commas: the first few and how many there are.
 *
 * @example
 * ```ts
 * listed(["a", "b", "c"], 2); // "a, b, ... (3 in all)"
 * ```
 */
export function listed(names: Iterable<string>, most = 12): string {
  const all = [...names];
  const shown = all.slice(0, most).map((name) => escaped(cut(name, 120)));
  return (all.length > most ? [...shown, `... (${all.length} in all)`] : shown).join(", ");
}

/** Whether a value is an object with entries of its own alone, such as options, and no array, tensor or other class. */
export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype;
}

/**
 * A value as it is written in messages: [2, 3, 4], "linear", Tensor(f32[2]), { axis }, a Float32Array. Some 500
 * characters at most, however long, wide or deep the value is.
 */
export const show = (value: unknown): string => cut(shown(value, 0), 500);

/** Elements that are written of a list within so many others. */
const ELEMENTS = [16, 8, 4];

function shown(value: unknown, depth: number): string {
  if (Array.isArray(value)) {
    if (depth >= ELEMENTS.length && value.length > 0) return "[...]";
    const list = value.slice(0, ELEMENTS[depth]).map((v) => shown(v, depth + 1));
    return `[${(value.length > list.length ? [...list, `... ${value.length} in all`] : list).join(", ")}]`;
  }
  if (typeof value === "string") return `"${escaped(cut(value, 200))}"`;
  if (typeof value === "function") return `a function`;
  if (typeof value !== "object" || value === null) return String(value);
  if (isPlain(value)) {
    const keys = Object.keys(value);
    return keys.length === 0 ? "{}" : `{ ${listed(keys, 16)} }`;
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
  const first = known[0];
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
  check(
    typeof value === "number" && !Number.isNaN(value),
    operator,
    () => `${name} is a number, got ${show(value)}${ifTraced(value)}`,
  );
}

/** Rejects what is no function. */
export function checkFunction(operator: string, name: string, value: unknown): void {
  check(typeof value === "function", operator, () => `${name} is a function, got ${show(value)}`);
}
