/**
 * Tree reductions in an order that depends only on the sizes. Long contiguous rows use one workgroup each; otherwise
 * every invocation reduces a part of its row in blocks, and further passes reduce the parts. No partial sum has more
 * than a few hundred terms. Sums over the same rows share a kernel.
 */
import { wgsl } from "wgsl-preprocessor/wgsl-preprocessor.js";
import { each } from "./grid.ts";
import { bindings, fold } from "./map.wgsl.ts";
import { declarationsSource } from "./library.ts";
import { NO_NUMBERS, sizedKernel, type Sizes, sizesOf } from "./sizes.ts";
import { type Declarations, type Kernel, type Numbers, type Slot, type Target, widestGroup } from "./types.ts";

type By = "sum" | "max" | "min" | "argmax";

export interface ReduceParams {
  readonly name: string;
  readonly reads: readonly string[];
  readonly by: By;
  readonly type: "f32" | "i32" | "u32";
  /** Rows, one result each. */
  readonly outputs: number;
  /** Floating-point operations per term, without the reduction itself. */
  readonly operations: number;
  /** Terms per row. */
  readonly length: number;
  /** Whether the last axis is reduced, so that neighboring terms are adjacent in memory. */
  readonly contiguous: boolean;
  /** More than one only for sums. */
  readonly results: number;
  readonly code: () => ReduceCode;
  /** Applied to the only result before it is stored. */
  readonly epilogue?: Epilogue;
}

interface EpilogueCode {
  readonly numbers: Numbers;
  readonly declarations: Declarations;
  readonly body: string;
  readonly value: string;
}

interface ReduceCode {
  readonly numbers: Numbers;
  readonly declarations: Declarations;
  /** Statements that depend only on the row `o`, and on the term `r`. */
  readonly before: string;
  readonly body: string;
  /** The term's value for each result. */
  readonly values: readonly string[];
}

/** An elementwise function of a sum `total0` at index `i`. */
export interface Epilogue {
  /** Used in the kernel's name. */
  readonly name: string;
  /** Element types of its bindings own0, own1, ... */
  readonly reads: readonly string[];
  /** The type that is stored. */
  readonly type: string;
  /** Its statements and their value. */
  readonly code: () => EpilogueCode;
}

interface Pass {
  readonly kernel: Kernel;
  readonly from: "inputs" | readonly Slot[];
  readonly to: readonly Slot[];
  /** Whether the epilogue's bindings follow those of the inputs. */
  readonly isLast: boolean;
}

const WORKGROUP = 64;
/** Terms per accumulator before it is added to the invocation's total. */
const BLOCK = 16;
/** Maximum terms per invocation. */
const MOST = 256;
/** Maximum parts that one invocation reduces in the last pass. */
const SHORT = 512;
/** Of the invocations that share a row, the number that merge the others' sums first. */
const JOINERS = 16;

const zeroOf = (type: ReduceParams["type"]): string => (type === "f32" ? "0f" : type === "i32" ? "0i" : "0u");

/** Number of parts per row, one invocation each; 1 if rows are short. */
function parts(outputs: number, length: number, first: boolean, target: Target): number {
  // With many rows, or little work, an invocation reduces a whole row.
  const whole = outputs >= (target.software ? 1024 : 16384) || outputs * length <= 2 ** 15;
  if (length <= (first && !whole ? 32 : SHORT)) return 1;
  const wanted = target.software ? 4096 : 65536;
  // If possible, few enough parts that one more pass finishes.
  const terms = Math.min(MOST, Math.max(BLOCK, Math.ceil((outputs * length) / wanted), Math.ceil(length / SHORT)));
  return Math.ceil(length / terms);
}

/**
 * Whether there are enough long rows for one workgroup each, with a bounded number of terms per lane. Not on a CPU
 * adapter: its workgroups gain nothing from sharing memory, and barriers take 50 to 150 ms longer to compile.
 */
const rowByRow = (p: ReduceParams, target: Target, lanes = widestGroup(target)): boolean =>
  !target.software &&
  p.by === "sum" &&
  p.contiguous &&
  p.outputs * p.length >= 2 ** 14 &&
  (p.outputs >= 128 || p.length <= 128 * lanes) &&
  p.length >= 4 * lanes &&
  p.length <= MOST * lanes;

/** The passes, and the bytes of the partial results between them. */
export function reduceKernels(p: ReduceParams, target: Target): { kernels: readonly Pass[]; temps: readonly number[] } {
  const results = Array.from({ length: p.results }, (_, output): Slot => ({ output }));
  if (rowByRow(p, target)) {
    return { kernels: [{ kernel: rows(p, target), from: "inputs", to: results, isLast: true }], temps: [] };
  }
  const kernels: Pass[] = [];
  const temps: number[] = [];
  // An argmax carries the value and its index.
  const carried = p.by === "argmax" ? 2 : p.results;
  let [from, length]: [Pass["from"], number] = ["inputs", p.length];
  for (;;) {
    const first = from === "inputs";
    const split = parts(p.outputs, length, first, target);
    const last = split === 1;
    const to = last ? results : Array.from({ length: carried }, (_, k): Slot => ({ temp: temps.length + k }));
    if (!last) temps.push(...new Array<number>(carried).fill(4 * p.outputs * split));
    const { epilogue, ...rest } = p;
    const own: ReduceParams = {
      ...rest,
      ...(last && epilogue ? { epilogue } : {}),
      length,
      ...(first ? {} : later(p)),
    };
    const text = p.by === "sum" ? sumPass : extremumPass;
    kernels.push({ kernel: text(own, split, first, last, target), from, to, isLast: last });
    if (last) return { kernels, temps };
    [from, length] = [to, split];
  }
}

/** A pass over partial results, in the layout of the previous pass. */
function later(p: ReduceParams): Partial<ReduceParams> {
  const at = p.contiguous ? "o * terms + r" : "r * outputs + o";
  const pair = p.by === "argmax";
  return {
    name: `${p.name}.partial`,
    operations: 0,
    reads: pair ? [p.type, "i32"] : new Array<string>(p.results).fill(p.type),
    code: () => ({
      declarations: { functions: [], loaders: [], usesF16: false },
      numbers: NO_NUMBERS,
      before: "",
      body: [`let at = ${at};`, ...(pair ? ["let place = b1[at];"] : [])].join("\n"),
      values: Array.from({ length: p.results }, (_, k) => `b${k}[at]`),
    }),
  };
}

const nameOf = ({ name, epilogue }: ReduceParams): string => (epilogue ? `${epilogue.name}(${name})` : name);

const flopsOf = (p: ReduceParams): number => p.type === "f32" ? (p.operations + p.results) * p.outputs * p.length : 0;

/**
 * Bindings of the inputs and of results of a type, and the head of a pass: row `o` and part `part` of invocation `i`.
 */
function head(
  p: ReduceParams,
  split: number,
  target: Target,
  results: readonly [string, string][],
  rest: (code: ReduceCode, end: EpilogueCode | undefined) => string,
): { make: () => { source: string; sizes: readonly number[] }; workgroups: Kernel["workgroups"] } {
  const count = p.outputs * split;
  const { workgroups, row } = fold(count, WORKGROUP, target);
  // Neighboring invocations read neighboring elements.
  const [rowOf, partOf] = p.contiguous ? ["i / split", "i % split"] : ["i % outputs", "i / outputs"];
  const make = (): { source: string; sizes: readonly number[] } => {
    const [code, end] = [p.code(), p.epilogue?.code()];
    const sizes = sizesWith({ count, outputs: p.outputs, terms: p.length, split }, code, end);
    const source = wgsl`${start(p, code, end)}
${resultBindings(p, results)}
${sizes.declaration(bindingOf(p, results.length))}

@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
${sizes.lets}
  let i = id.x + id.y * ${row}u;
  if (i >= count) {
    return;
  }
  let o = ${rowOf};
  let part = ${partOf};
${code.before}
${rest(code, end)}`;
    return { source, sizes: sizes.values };
  };
  return { make, workgroups };
}

/** A template's own sizes, and the numbers of what is fused in. */
const sizesWith = (own: Readonly<Record<string, number>>, code: ReduceCode, end: EpilogueCode | undefined): Sizes =>
  sizesOf({ ...own, ...code.numbers.unsigned, ...end?.numbers.unsigned }, {}, {
    ...code.numbers.floats,
    ...end?.numbers.floats,
  });

/** Functions and input bindings. */
const start = ({ reads, epilogue }: ReduceParams, code: ReduceCode, end: EpilogueCode | undefined): string => {
  const own = (epilogue?.reads ?? []).map(
    (type, k) => `@group(0) @binding(${reads.length + k}) var<storage, read> own${k}: array<${type}>;`,
  );
  const declarations = [code.declarations, ...(end ? [end.declarations] : [])];
  return [declarationsSource(declarations), bindings(reads), ...own].join("\n");
};

/** Statements that store the totals at index `i`; the function's names are scoped. */
function written({ results }: ReduceParams, end: EpilogueCode | undefined): string {
  if (!end) return each(results, (j) => `  result${j}[i] = total${j};`);
  return ["  {", ...(end.body ? [end.body] : []), `result0[i] = ${end.value};`, "  }"].join("\n");
}

/** Name and storage type of each sum. */
const sumResults = (p: ReduceParams): [string, string][] =>
  Array.from({ length: p.results }, (_, j) => [`result${j}`, p.epilogue?.type ?? p.type]);

/** The binding of result k, or after the last. */
const bindingOf = (p: ReduceParams, k: number): number => p.reads.length + (p.epilogue?.reads.length ?? 0) + k;

const resultBindings = (p: ReduceParams, results: readonly [string, string][]): string =>
  results
    .map(
      ([name, type], k) => `@group(0) @binding(${bindingOf(p, k)}) var<storage, read_write> ${name}: array<${type}>;`,
    )
    .join("\n");

/** Loops over terms `from`, from + step, ... below the length, in blocks, accumulating into totals. */
const blocks = (p: ReduceParams, { body, values }: ReduceCode, from: string, step: string): string => {
  const n = p.results;
  const zero = zeroOf(p.type);
  return `${each(n, (j) => `  var total${j} = ${zero};`)}
  for (var start = ${from}; start < terms; start += ${BLOCK}u * ${step}) {
${each(n, (j) => `    var block${j} = ${zero};`)}
    for (var r = start; r < min(start + ${BLOCK}u * ${step}, terms); r += ${step}) {
${body}
${each(n, (j) => `      block${j} += ${values[j]};`)}
    }
${each(n, (j) => `    total${j} += block${j};`)}
  }`;
};

function sumPass(p: ReduceParams, split: number, _first: boolean, _last: boolean, target: Target): Kernel {
  const rest = (code: ReduceCode, end: EpilogueCode | undefined): string =>
    `${blocks(p, code, "part", "split")}
${written(p, end)}
}
`;
  const { make, workgroups } = head(p, split, target, sumResults(p), rest);
  return sizedKernel({ name: nameOf(p), workgroups, flops: flopsOf(p) }, make);
}

/** One workgroup per row: lanes sum strided terms, some of them merge the lanes, and the first merges those. */
function rows(p: ReduceParams, target: Target): Kernel {
  const n = p.results;
  const lanes = widestGroup(target);
  const x = Math.min(p.outputs, target.maxWorkgroupsPerDimension);
  const shared = (j: number): string => `sums[${j * lanes}u`;
  const make = (): { source: string; sizes: readonly number[] } => {
    const [code, end] = [p.code(), p.epilogue?.code()];
    const sizes = sizesWith({ outputs: p.outputs, terms: p.length }, code, end);
    const source = wgsl`${start(p, code, end)}
${resultBindings(p, sumResults(p))}
${sizes.declaration(bindingOf(p, n))}
var<workgroup> sums: array<${p.type}, ${n * lanes}>;

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
${sizes.lets}
  let o = ${p.outputs > x ? `group.x + group.y * ${x}u` : "group.x"};
  if (o >= outputs) {
    return;
  }
${code.before}
${blocks(p, code, "lane", `${lanes}u`)}
${each(n, (j) => `  ${shared(j)} + lane] = total${j};`)}
  workgroupBarrier();
  if (lane < ${JOINERS}u) {
    for (var k = lane + ${JOINERS}u; k < ${lanes}u; k += ${JOINERS}u) {
${each(n, (j) => `      total${j} += ${shared(j)} + k];`)}
    }
${each(n, (j) => `    ${shared(j)} + lane] = total${j};`)}
  }
  workgroupBarrier();
  if (lane == 0u) {
    for (var k = 1u; k < ${JOINERS}u; k++) {
${each(n, (j) => `      total${j} += ${shared(j)} + k];`)}
    }
    let i = o;
${written(p, end)}
  }
}
`;
    return { source, sizes: sizes.values };
  };
  const workgroups = [x, Math.ceil(p.outputs / x), 1] as const;
  return sizedKernel({ name: nameOf(p), workgroups, flops: flopsOf(p) }, make);
}

function extremumPass(p: ReduceParams, split: number, first: boolean, last: boolean, target: Target): Kernel {
  const pair = p.by === "argmax";
  // NaN wins for both max and min; of equal values the first index wins.
  const nan = (x: string): string => (p.type === "f32" ? `((bitcast<u32>(${x}) << 1u) > 0xff000000u)` : "false");
  const beyond = `(term ${p.by === "min" ? "<" : ">"} best)`;
  const earlier = "(where_ < bestPlace)";
  const better = pair
    ? `${beyond} | (${nan("term")} & (!${nan("best")} | ${earlier})) | ((term == best) & ${earlier})`
    : `${beyond} | ${nan("term")}`;
  const results: [string, string][] = [["result", pair && last ? "i32" : p.type]];
  if (pair && !last) results.push(["places", "i32"]);
  const rest = ({ body, values }: ReduceCode): string =>
    wgsl`  var best = ${zeroOf(p.type)};
  var bestPlace = -1i;
  for (var r = part; r < terms; r += split) {
${body}
    let term = ${values[0]};
#if ${pair && !first}
    let where_ = place;
#else
    let where_ = i32(r);
#endif
    if ((bestPlace < 0i) | ${better}) {
      best = term;
      bestPlace = where_;
    }
  }
#if ${pair && last}
  result[i] = bestPlace;
#else
  result[i] = best;
#endif
#if ${pair && !last}
  places[i] = bestPlace;
#endif
}
`;
  const { make, workgroups } = head(p, split, target, results, rest);
  return sizedKernel({ name: nameOf(p), workgroups, flops: flopsOf(p) }, make);
}
