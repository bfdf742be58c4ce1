/**
 * Reads Python's pickles without running what they name: numbers, strings, bytes, containers, and the few constructors
 * that PyTorch's files of weights use. Everything else is refused by its name. The opcodes are those of CPython's
 * pickletools.
 */
import { listed, show, VoxgradError } from "../core/errors.ts";

/** What a pickle may hold here. */
export type Pickled =
  | number
  | string
  | boolean
  | null
  | undefined
  | Uint8Array
  | Pickled[]
  | Map<Pickled, Pickled>
  | Made;

/** An object that a constructor gave. */
export interface Made {
  readonly kind: string;
}

/** A constructor that pickles may call, by its module and name. */
export type Construct = (args: readonly Pickled[]) => Pickled;

class Global implements Made {
  readonly kind = "global";
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

export interface UnpickleOptions {
  /** Constructors by "module.name". */
  readonly constructors: Readonly<Record<string, Construct>>;
  /** What stands for a value outside of the pickle, by PyTorch's storages. */
  readonly persistent: (id: Pickled) => Pickled;
}

/** A class that was named and not called, such as the type of a storage. */
export const globalName = (value: Pickled): string | undefined => (value instanceof Global ? value.name : undefined);

const MOST_ITEMS = 1e7;
/** Of a value as JSON: a pickle may name one list many times, and itself. */
const MOST_VALUES = 1e6;
const DEEPEST = 64;

/**
 * A value as JSON would hold it: dictionaries of strings become objects; what is no number, text, list or dictionary
 * becomes undefined.
 *
 * @throws VoxgradError for a value that holds itself, or is nested too deeply or repeated too often to be one
 */
export function plainValue(value: Pickled): unknown {
  let count = 0;
  const plain = (each: Pickled, depth: number): unknown => {
    if (++count > MOST_VALUES || depth > DEEPEST) {
      throw new VoxgradError(
        `the pickle holds a value of more than ${MOST_VALUES} parts or ${DEEPEST} levels, as one that holds itself`,
      );
    }
    if (Array.isArray(each)) return each.map((item) => plain(item, depth + 1));
    if (each instanceof Map) {
      const entries = [...each].flatMap(([key, item]) =>
        typeof key === "string" && key !== "__proto__" ? [[key, plain(item, depth + 1)]] : []
      );
      return Object.fromEntries(entries);
    }
    return typeof each === "object" && each !== null ? undefined : each;
  };
  return plain(value, 0);
}

export function unpickle(bytes: Uint8Array, { constructors, persistent }: UnpickleOptions): Pickled {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stack: Pickled[] = [];
  const marks: number[] = [];
  const memo = new Map<number, Pickled>();
  let at = 0;

  const damaged = (what: string): never => {
    throw new VoxgradError(`the pickle is damaged at byte ${at}: ${what}`);
  };
  const take = (count: number): number => {
    if (!(count >= 0) || at + count > bytes.length) damaged("it ends too early");
    at += count;
    return at - count;
  };
  const text = (count: number): string => {
    const from = take(count);
    return new TextDecoder().decode(bytes.subarray(from, at));
  };
  const line = (): string => {
    const end = bytes.indexOf(10, at);
    if (end < 0) damaged("a line does not end");
    const result = text(end - at);
    at++;
    return result;
  };
  const u8 = (): number => view.getUint8(take(1));
  const u32 = (): number => view.getUint32(take(4), true);
  const u64 = (): number => Number(view.getBigUint64(take(8), true));
  const push = (value: Pickled): void => {
    if (stack.push(value) > MOST_ITEMS) damaged(`more than ${MOST_ITEMS} values`);
  };
  const floor = (): number => marks.at(-1) ?? 0;
  const pop = (): Pickled => (stack.length > floor() ? stack.pop() : damaged("there is no value to take"));
  const popMark = (): Pickled[] => stack.splice(marks.pop() ?? damaged("there is no mark"));
  const top = (): Pickled => (stack.length > floor() ? stack.at(-1) : damaged("there is no value"));
  const list = (value: Pickled): Pickled[] => (Array.isArray(value) ? value : damaged("a list is wanted"));
  const integer = (count: number): number => {
    const from = take(count);
    let value = 0n;
    for (let k = count - 1; k >= 0; k--) value = (value << 8n) | BigInt(bytes[from + k]);
    return Number(BigInt.asIntN(8 * count, value));
  };
  const setAll = (items: readonly Pickled[]): void => {
    const target = top();
    if (!(target instanceof Map) || items.length % 2 !== 0) damaged("a dictionary is wanted");
    for (let k = 0; k < items.length; k += 2) (target as Map<Pickled, Pickled>).set(items[k], items[k + 1]);
  };
  const global = (module: string, name: string): void => {
    const full = `${module}.${name}`;
    if (!Object.hasOwn(constructors, full)) {
      throw new VoxgradError(
        `the pickle names ${show(full)}, which is not read: it could run anything; wanted tensors, numbers, text and ` +
          `plain containers (${listed(Object.keys(constructors), 6)})`,
      );
    }
    push(new Global(full));
  };
  const construct = (args: Pickled): void => {
    const callee = pop();
    if (!(callee instanceof Global)) damaged("what is called is no constructor");
    push(constructors[(callee as Global).name](list(args)));
  };
  const put = (place: number): void => void memo.set(place, top());
  const get = (place: number): void =>
    push(memo.has(place) ? memo.get(place) : damaged(`nothing is stored at ${place}`));
  /** State of an object: entries of a dictionary, or what the constructor knows. */
  const build = (): void => {
    const state = pop();
    const target = top();
    // An OrderedDict may bring attributes such as _metadata, which are no entries.
    if (target instanceof Map) return;
    if (typeof target === "object" && target !== null && "kind" in target && target.kind === "dtype") return;
    damaged(`an object takes no state ${show(state)}`);
  };

  const opcodes: Readonly<Record<number, () => void>> = {
    0x80: () => void u8(), // PROTO
    0x95: () => void u64(), // FRAME
    0x28: () => void marks.push(stack.length), // MARK
    0x30: () => void pop(), // POP
    0x31: () => void popMark(), // POP_MARK
    0x4e: () => push(null), // NONE
    0x88: () => push(true), // NEWTRUE
    0x89: () => push(false), // NEWFALSE
    0x4a: () => push(view.getInt32(take(4), true)), // BININT
    0x4b: () => push(u8()), // BININT1
    0x4d: () => push(view.getUint16(take(2), true)), // BININT2
    0x8a: () => push(integer(u8())), // LONG1
    0x47: () => push(view.getFloat64(take(8))), // BINFLOAT, big endian
    0x49: () => {
      const value = line();
      push(value === "00" ? false : value === "01" ? true : Number(value)); // INT
    },
    0x46: () => push(Number(line())), // FLOAT
    0x4c: () => push(Number(line().replace("L", ""))), // LONG
    0x58: () => push(text(u32())), // BINUNICODE
    0x8c: () => push(text(u8())), // SHORT_BINUNICODE
    0x8d: () => push(text(u64())), // BINUNICODE8
    0x56: () => push(line()), // UNICODE
    0x54: () => push(text(u32())), // BINSTRING
    0x55: () => push(text(u8())), // SHORT_BINSTRING
    0x42: () => push(bytes.slice(take(u32()), at)), // BINBYTES
    0x43: () => push(bytes.slice(take(u8()), at)), // SHORT_BINBYTES
    0x8e: () => push(bytes.slice(take(u64()), at)), // BINBYTES8
    0x5d: () => push([]), // EMPTY_LIST
    0x29: () => push([]), // EMPTY_TUPLE
    0x7d: () => push(new Map()), // EMPTY_DICT
    0x8f: () => push([]), // EMPTY_SET
    0x61: () => {
      const value = pop();
      list(top()).push(value); // APPEND
    },
    0x65: () => {
      const items = popMark();
      const target = list(top());
      for (const item of items) target.push(item); // APPENDS
    },
    0x90: () => {
      const items = popMark();
      const target = list(top());
      for (const item of items) target.push(item); // ADDITEMS
    },
    0x91: () => push(popMark()), // FROZENSET
    0x73: () => {
      const value = pop();
      const key = pop();
      setAll([key, value]); // SETITEM
    },
    0x75: () => setAll(popMark()), // SETITEMS
    0x6c: () => push(popMark()), // LIST
    0x74: () => push(popMark()), // TUPLE
    0x64: () => {
      const items = popMark();
      push(new Map());
      setAll(items); // DICT
    },
    0x85: () => push([pop()]), // TUPLE1
    0x86: () => push([pop(), pop()].reverse()), // TUPLE2
    0x87: () => push([pop(), pop(), pop()].reverse()), // TUPLE3
    0x71: () => put(u8()), // BINPUT
    0x72: () => put(u32()), // LONG_BINPUT
    0x70: () => put(Number(line())), // PUT
    0x94: () => put(memo.size), // MEMOIZE
    0x68: () => get(u8()), // BINGET
    0x6a: () => get(u32()), // LONG_BINGET
    0x67: () => get(Number(line())), // GET
    0x63: () => global(line(), line()), // GLOBAL
    0x93: () => {
      const [name, module] = [pop(), pop()];
      global(String(module), String(name)); // STACK_GLOBAL
    },
    0x52: () => construct(pop()), // REDUCE
    0x81: () => construct(pop()), // NEWOBJ
    0x62: build, // BUILD
    0x51: () => push(persistent(pop())), // BINPERSID
  };

  for (;;) {
    const code = bytes[take(1)];
    if (code === 0x2e) return pop(); // STOP
    const run = opcodes[code] ?? damaged(`the opcode 0x${code.toString(16)} is not read`);
    run();
  }
}
