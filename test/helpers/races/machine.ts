/** Runs kernels as a GPU may: invocations in random order between barriers, subgroups of any width. */
import { fromHalf, toHalf } from "../../../engine/core/dtype.ts";
import type { Site } from "./expressions.ts";
import { type Clock, Finding, type Kind, Memory } from "./memory.ts";
import { joined, type Lane } from "./subgroups.ts";
import { translate, type Translated } from "./translate.ts";

export interface RunOptions {
  /** Lanes of a subgroup; which invocations share one is random. */
  readonly width?: number;
  /** Of the random order. */
  readonly seed?: number;
  /** Kinds of findings, but for faults that keep it from going on, that do not end the run. */
  readonly ignores?: readonly Kind[];
}

type Main = (...builtins: unknown[]) => Iterator<number, void, unknown> | void;

/** An invocation of a workgroup. */
interface Invocation extends Lane {
  readonly subgroup: number;
  readonly steps: Iterator<number, void, unknown>;
  readonly actor: number;
  /** Where it waits, or that it has not begun or has returned. */
  site: number;
}

const KINDS: readonly Kind[] = ["race", "barrier", "bounds", "unwritten"];
const READY = -1;
const RETURNED = -2;

type Make = (
  R: unknown,
  M: Readonly<Record<string, Memory>>,
) => { main: Main; combine: (((a: unknown, b: unknown) => unknown) | null)[] };
const translations = new Map<string, Translated & { readonly make: Make }>();

function translationOf(source: string): Translated & { readonly make: Make } {
  let known = translations.get(source);
  if (!known) {
    const translated = translate(source);
    known = { ...translated, make: new Function("R", "M", translated.code) as Make };
    translations.set(source, known);
  }
  return known;
}

/** Numbers from 0 to below 1, by Marsaglia's xorshift. */
function randomOf(seed: number): () => number {
  let x = (seed * 2654435761) | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return (x >>> 0) / 2 ** 32;
  };
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const list = [...items];
  for (let k = list.length - 1; k > 0; k--) {
    const other = Math.floor(random() * (k + 1));
    [list[k], list[other]] = [list[other], list[k]];
  }
  return list;
}

/**
 * Runs `source` on buffers in the order of their bindings, which hold the results afterwards.
 *
 * @throws Finding at the first race, access out of bounds, or barrier that not all invocations reach
 */
export function runKernel(
  source: string,
  workgroups: readonly [number, number, number],
  buffers: readonly Uint8Array<ArrayBuffer>[],
  { width = 32, seed = 1, ignores = [] }: RunOptions = {},
): void {
  const kernel = translationOf(source);
  const { shared, sites, workgroupSize, builtins } = kernel;
  const random = randomOf(seed);
  const size = workgroupSize.reduce((a, b) => a * b);
  const local: Clock = { actor: 0, group: 0, epoch: 0 };
  const global: Clock = { actor: 0, group: 0, epoch: 0 };
  const finds = new Set(KINDS.filter((kind) => !ignores.includes(kind)));
  // What buffers hold at first is given.
  const inBuffers = new Set([...finds].filter((kind) => kind !== "unwritten"));
  const memories = Object.fromEntries(shared.map(({ name, space, type, size, binding, writable }) => {
    if (space === "storage") {
      return [name, new Memory(name, type, buffers[binding], writable ? global : null, inBuffers)];
    }
    const words = type.kind === "vector" ? (type.size === 3 ? 4 : type.size) : 1;
    return [name, new Memory(name, type, new Uint8Array(size! * words * 4), local, finds)];
  }));
  const own = shared.filter(({ space }) => space === "workgroup").map(({ name }) => memories[name]);
  let current: Lane;
  const runtime = {
    ...arithmetic,
    inside(i: number, size: number, line: number): number {
      if (i >= 0 && i < size) return i;
      throw new Finding("bounds", `line ${line} accesses element ${i} of ${size}`);
    },
    send(site: number, value: unknown, lane?: unknown): number {
      [current.value, current.lane] = [value, lane];
      return site;
    },
  };
  const { main, combine } = kernel.make(runtime, memories);
  const [columns, rows] = workgroups;
  const groups = shuffled(Array.from({ length: workgroups.reduce((a, b) => a * b) }, (_, k) => k), random);
  for (const group of groups) {
    [local.group, global.group] = [group, group];
    local.epoch = global.epoch = 0;
    for (const memory of own) memory.clear();
    const wid = [group % columns, Math.floor(group / columns) % rows, Math.floor(group / columns / rows)];
    const order = shuffled(Array.from({ length: size }, (_, k) => k), random);
    const all = order.map((place, index): Invocation => {
      const at = [
        index % workgroupSize[0],
        Math.floor(index / workgroupSize[0]) % workgroupSize[1],
        Math.floor(index / workgroupSize[0] / workgroupSize[1]),
      ];
      const [subgroup, position] = [Math.floor(place / width), place % width];
      const values: Record<string, unknown> = {
        workgroup_id: wid,
        num_workgroups: [...workgroups],
        local_invocation_id: at,
        local_invocation_index: index,
        global_invocation_id: at.map((n, k) => n + wid[k] * workgroupSize[k]),
        subgroup_invocation_id: position,
        subgroup_id: subgroup,
        subgroup_size: width,
      };
      const given = builtins.map((name) => {
        if (name in values) return values[name];
        throw new Error(`main: no builtin ${name}`);
      });
      const actor = group * size + index;
      const steps = kernel.suspends ? main(...given)! : once(() => main(...given));
      return { subgroup, position, actor, steps, site: READY, value: null, lane: null, result: null };
    });
    const step = (one: Invocation): void => {
      current = one;
      local.actor = global.actor = one.actor;
      const { done, value } = one.steps.next(one.result);
      one.site = done ? RETURNED : (value as number);
    };
    runGroup(all, width, sites, random, step, (members, site) => {
      local.actor = global.actor = COLLECTIVE - collectives++;
      return joined(sites[site], members, combine[site]);
    }, (name) => {
      (name === "storageBarrier" ? global : local).epoch++;
    });
  }
}

/** Agents of accesses that lanes do together. */
const COLLECTIVE = -10;
let collectives = 0;

/** An invocation that waits for no other. */
const once = (run: () => void): Iterator<number, void, unknown> => ({
  next() {
    run();
    return { done: true, value: undefined };
  },
});

/** Runs the invocations of a workgroup to their ends. */
function runGroup(
  all: readonly Invocation[],
  width: number,
  sites: readonly Site[],
  random: () => number,
  step: (one: Invocation) => void,
  together: (members: readonly Invocation[], site: number) => readonly unknown[],
  passed: (barrier: string) => void,
): void {
  const subgroups = Array.from(
    { length: Math.ceil(all.length / width) },
    (_, k) => all.filter(({ subgroup }) => subgroup === k).sort((a, b) => a.position - b.position),
  );
  const isShared = ({ site }: Invocation): boolean => site >= 0 && !sites[site].name.endsWith("Barrier");
  for (;;) {
    for (const members of shuffled(subgroups, random)) {
      const order = shuffled(members, random);
      for (;;) {
        for (const one of order) step(one);
        if (!members.some(isShared)) break;
        agree(members, sites, "subgroup");
        const results = together(members, members[0].site);
        for (let k = 0; k < members.length; k++) members[k].result = results[k];
      }
    }
    if (all.every(({ site }) => site === RETURNED)) return;
    agree(all, sites, "workgroup");
    passed(sites[all[0].site].name);
    for (const one of all) one.result = null;
  }
}

/** Checks that all wait at the same place. */
function agree(members: readonly Invocation[], sites: readonly Site[], whole: string): void {
  const [first] = members;
  const other = members.find(({ site }) => site !== first.site);
  if (!other) return;
  const where = ({ actor, site }: Invocation): string =>
    `invocation ${actor} ${
      site === RETURNED ? "has returned" : `waits at ${sites[site].name} in line ${sites[site].line}`
    }`;
  throw new Finding("barrier", `${where(first)}, but ${where(other)} of the same ${whole}`);
}

const words = new Uint32Array(1);
const floats = new Float32Array(words.buffer);

/** Functions of translated kernels. */
const arithmetic = {
  F: Math.fround,
  H: (x: number): number => fromHalf(toHalf(x)),
  quotient: (a: number, b: number): number => (b === 0 ? a : Math.trunc(a / b)),
  remainder: (a: number, b: number): number => (b === 0 ? 0 : a % b),
  min: (a: number, b: number): number => (b < a ? b : a),
  max: (a: number, b: number): number => (b > a ? b : a),
  select: <T>(no: T, yes: T, condition: boolean): T => (condition ? yes : no),
  /** To the nearest, ties to even. */
  round(x: number): number {
    const low = Math.floor(x);
    const rest = x - low;
    return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
  },
  trailingZeros: (x: number): number => (x === 0 ? 32 : 31 - Math.clz32(x & -x)),
  ones(x: number): number {
    let count = 0;
    for (let rest = x >>> 0; rest !== 0; rest = (rest & (rest - 1)) >>> 0) count++;
    return count;
  },
  to_u32: (x: number): number => Math.min(Math.max(Math.trunc(x), 0), 0xffffffff) || 0,
  to_i32: (x: number): number => Math.min(Math.max(Math.trunc(x), -0x80000000), 0x7fffffff) || 0,
  bits(x: number): number {
    floats[0] = x;
    return words[0];
  },
  float(bits: number): number {
    words[0] = bits;
    return floats[0];
  },
  swizzle: (v: readonly unknown[], ...places: number[]): unknown[] => places.map((k) => v[k]),
  copy,
  zeroMatrix: (size: number): readonly number[] =>
    zeros.get(size) ?? zeros.set(size, new Array(size).fill(0)).get(size)!,
};

const zeros = new Map<number, readonly number[]>();

function copy(value: unknown): unknown {
  return Array.isArray(value) ? value.map(copy) : value;
}
