/** Parsing of untrusted JSON files. */
import { escaped, show, VoxgradError } from "./errors.ts";

/** Invalid or rejected JSON; the message names the file, the position and the fix. */
export class JsonError extends VoxgradError {
  override name = "JsonError";
  readonly file: string;
  readonly problem: string;
  readonly fix: string;

  constructor(file: string, problem: string, fix: string) {
    super(`${file}: ${problem}. ${fix}`);
    this.file = file;
    this.problem = problem;
    this.fix = fix;
  }
}

export interface JsonOptions {
  /** Maximum size in bytes (of a string: characters); default: 32 MiB. */
  readonly most?: number;
  /** Maximum nesting depth of arrays and objects; default: 64. */
  readonly deepest?: number;
}

/**
 * Parses JSON more strictly than JSON.parse. Rejects duplicate keys, of which one value would be lost; the key
 * "__proto__"; infinite numbers; and input that is too long or too deeply nested for later processing. A leading byte
 * order mark is skipped.
 *
 * Parsed keys are always own properties. Inherited names ("constructor", "toString") are not keys: look up untrusted
 * names with Object.hasOwn.
 *
 * @param source a string, or the bytes of a UTF-8 file
 * @param file name of the file, for messages
 * @throws JsonError
 * @example
 * ```ts
 * parseJson('{ "steps": 100 }', "config.json"); // { steps: 100 }
 * ```
 */
export function parseJson(source: string | Uint8Array, file: string, options: JsonOptions = {}): unknown {
  const { most = 2 ** 25, deepest = 64 } = options;
  if (source.length > most) {
    const size = (n: number): string => `${(n / 2 ** 20).toPrecision(3)} MiB`;
    throw new JsonError(
      file,
      `it is ${size(source.length)} long, more than the ${size(most)} that are read`,
      "Name the right file",
    );
  }
  let text: string;
  try {
    text = typeof source === "string" ? source : new TextDecoder("utf-8", { fatal: true }).decode(source);
  } catch {
    throw new JsonError(file, "it is no text in UTF-8", "Name the right file, or save it as UTF-8");
  }
  return new Parser(text, file, deepest).whole();
}

/** A parsed value as JSON for a message: a few entries of arrays and objects, at most three levels deep. */
export function showJson(value: unknown, depth = 0): string {
  if (typeof value !== "object" || value === null) return show(value);
  const entries = Object.entries(value);
  const parts = entries.slice(0, depth > 2 ? 0 : 8).map(([key, each]) => {
    const text = showJson(each, depth + 1);
    return Array.isArray(value) ? text : `${show(key)}:${text}`;
  });
  if (parts.length < entries.length) parts.push("...");
  return Array.isArray(value) ? `[${parts.join(",")}]` : `{${parts.join(",")}}`;
}

const FIX = "Correct it in a text editor";
const BLANK = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORDS: readonly (readonly [string, unknown])[] = [["true", true], ["false", false], ["null", null]];

class Parser {
  readonly #text: string;
  readonly #file: string;
  readonly #deepest: number;
  #at: number;

  constructor(text: string, file: string, deepest: number) {
    this.#text = text;
    this.#file = file;
    this.#deepest = deepest;
    this.#at = text.startsWith("\uFEFF") ? 1 : 0;
  }

  whole(): unknown {
    const value = this.#value(0);
    if (this.#peek() !== "") this.#refuse("after its end");
    return value;
  }

  #fail(problem: string, fix = FIX, at = this.#at): never {
    const lines = this.#text.slice(0, at).split("\n");
    throw new JsonError(this.#file, `${problem}, in line ${lines.length}, column ${lines.at(-1)!.length + 1}`, fix);
  }

  #refuse(where: string): never {
    const found = this.#text.slice(this.#at, this.#at + 12).split("\n")[0];
    const got = this.#at >= this.#text.length ? "the text ends" : `there is ${escaped(found) || "a line break"}`;
    this.#fail(`it is no JSON: ${got} ${where}`);
  }

  /** The next non-blank character; "" at the end. */
  #peek(): string {
    BLANK.lastIndex = this.#at;
    BLANK.test(this.#text);
    this.#at = BLANK.lastIndex;
    return this.#text.charAt(this.#at);
  }

  /** Consumes one of two characters and returns whether it was the first. */
  #either(first: string, second: string, where: string): boolean {
    const found = this.#peek();
    if (found !== first && found !== second) this.#refuse(where);
    this.#at++;
    return found === first;
  }

  #value(depth: number): unknown {
    const first = this.#peek();
    if (first === "{" || first === "[") {
      const problem = `its lists and objects lie in each other more than ${this.#deepest} deep`;
      if (depth >= this.#deepest) this.#fail(problem, "Name the right file, or write it again");
      return first === "{" ? this.#object(depth) : this.#array(depth);
    }
    if (first === '"') return this.#string();
    NUMBER.lastIndex = this.#at;
    if (NUMBER.test(this.#text)) {
      const value = Number(this.#text.slice(this.#at, NUMBER.lastIndex));
      if (!Number.isFinite(value)) this.#fail("it has a number that is beyond 1.8e308");
      this.#at = NUMBER.lastIndex;
      return value;
    }
    const word = WORDS.find(([name]) => this.#text.startsWith(name, this.#at));
    if (!word) this.#refuse("where a value belongs");
    this.#at += word[0].length;
    return word[1];
  }

  #array(depth: number): unknown[] {
    const list: unknown[] = [];
    this.#at++;
    if (this.#peek() === "]") return this.#at++, list;
    do list.push(this.#value(depth + 1)); while (this.#either(",", "]", "where a comma or ] belongs"));
    return list;
  }

  #object(depth: number): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    this.#at++;
    if (this.#peek() === "}") return this.#at++, object;
    do {
      if (this.#peek() !== '"') this.#refuse("where a key in quotes belongs");
      const start = this.#at;
      const key = this.#string();
      if (Object.hasOwn(object, key)) {
        this.#fail(`an object has the key ${show(key)} twice`, "Keep the one that is meant", start);
      }
      if (key === "__proto__") this.#fail('an object has the key "__proto__"', "Give it another name", start);
      if (this.#peek() !== ":") this.#refuse("where a colon belongs");
      this.#at++;
      object[key] = this.#value(depth + 1);
    } while (this.#either(",", "}", "where a comma or } belongs"));
    return object;
  }

  #string(): string {
    const start = this.#at;
    let end = start + 1;
    for (let code = 0; (code = this.#text.charCodeAt(end)) !== 34; end += code === 92 ? 2 : 1) {
      if (!(end < this.#text.length)) this.#fail("it is no JSON: a text has no end", FIX, start);
    }
    this.#at = end + 1;
    try {
      return JSON.parse(this.#text.slice(start, end + 1)) as string;
    } catch {
      this.#fail("it is no JSON: a text has a line break, a control character or an escape that is none", FIX, start);
    }
  }
}
