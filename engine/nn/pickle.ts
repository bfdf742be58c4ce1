/** Writes Python's pickles of protocol 2: plain values, functions by their names, and tensors as PyTorch does. */
import { check, show } from "../core/errors.ts";
import { Tensor } from "../core/tensor.ts";

/** A function or class of Python by its name, which is not called. */
export class PythonName {
  readonly module: string;
  readonly name: string;
  constructor(module: string, name: string) {
    this.module = module;
    this.name = name;
  }
}

/** What a pickle is written of. */
export type Content =
  | number
  | string
  | boolean
  | null
  | Tensor
  | PythonName
  | readonly Content[]
  | { readonly [key: string]: Content };

/**
 * The bytes of a pickle.
 *
 * @param storage the key under which the numbers of a tensor are kept; tensors of the same key share them
 */
export function pickle(content: Content, storage: (t: Tensor) => string): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const encoder = new TextEncoder();
  const code = (...values: number[]): void => void parts.push(Uint8Array.from(values));
  const global = (module: string, name: string): void => void parts.push(encoder.encode(`c${module}\n${name}\n`));
  const word = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer);
  const MARK = 0x28;
  const TUPLE = 0x74;
  const REDUCE = 0x52;

  const text = (value: string): void => {
    const bytes = encoder.encode(value);
    code(0x58, ...word(bytes.length));
    parts.push(bytes);
  };
  const number = (value: number): void => {
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) return code(0x4a, ...word(value));
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value);
    code(0x47, ...bytes);
  };
  const numbers = (values: readonly number[]): void => {
    code(MARK);
    values.forEach(number);
    code(TUPLE);
  };
  const tensor = (t: Tensor): void => {
    check(t.dtype === "f32", "pickle", () => `tensors are f32, got ${t}`);
    global("torch._utils", "_rebuild_tensor_v2");
    code(MARK);
    code(MARK);
    text("storage");
    global("torch", "FloatStorage");
    text(storage(t));
    text("cpu");
    number(t.size);
    code(TUPLE, 0x51); // BINPERSID
    number(0);
    numbers(t.shape);
    numbers(t.shape.map((_, k) => t.shape.slice(k + 1).reduce((a, b) => a * b, 1)));
    code(0x89); // requires_grad: False
    global("collections", "OrderedDict");
    code(0x29, REDUCE, TUPLE, REDUCE);
  };
  const write = (value: Content): void => {
    if (value === null) code(0x4e);
    else if (typeof value === "boolean") code(value ? 0x88 : 0x89);
    else if (typeof value === "number") number(value);
    else if (typeof value === "string") text(value);
    else if (value instanceof Tensor) tensor(value);
    else if (value instanceof PythonName) global(value.module, value.name);
    else if (Array.isArray(value)) {
      code(0x5d, MARK);
      value.forEach(write);
      code(0x65); // APPENDS
    } else if (typeof value === "object") {
      code(0x7d, MARK);
      for (const [key, each] of Object.entries(value as { readonly [key: string]: Content })) {
        text(key);
        write(each);
      }
      code(0x75); // SETITEMS
    } else check(false, "pickle", () => `it writes numbers, text, lists and dictionaries, got ${show(value)}`);
  };

  code(0x80, 2);
  write(content);
  code(0x2e);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
