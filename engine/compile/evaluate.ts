/** Evaluation without `compile`: the same pipeline, with a cache keyed by graph structure. */
import { checkAttached, type TypedArray } from "../core/dtype.ts";
import { fail, show } from "../core/errors.ts";
import { LruCache } from "../core/lru_cache.ts";
import {
  ancestors,
  checkReadable,
  inputsOf,
  requireEvaluator,
  setEvaluator,
  type Source,
  Tensor,
  whyGone,
} from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { type Device, device as openDevice, onClose, readBuffer, Storage, upload, warn } from "../gpu/mod.ts";
import { anomalyCheck } from "./anomaly_check.ts";
import { type Graph, lower } from "./graph/lower.ts";
import { Program } from "./program.ts";

/** Maximum number of cached programs. */
const CAPACITY = 256;
const disposeOf = (program: Promise<Program>): unknown => program.then((p) => p.dispose(), () => undefined);
const programs = new LruCache<string, Promise<Program>>(CAPACITY, { onDrop: disposeOf });
onClose(() => programs.clear());
/** The tuning version that the cached programs were built with. */
let version = 0;

function forgetUntuned(device: Device): void {
  if (version === device.tuned.version) return;
  version = device.tuned.version;
  for (const program of programs.values()) disposeOf(program);
  programs.clear();
}

/** Host values used a second time are moved to the device permanently. */
const KEEP_AFTER = 1;

/** A leaf as program input: device memory, or host values to upload for this call. */
export function leafValue(
  device: Device,
  leaf: Tensor,
  onDevice: boolean,
  source: Source = leaf.source,
): Storage | TypedArray {
  switch (source.kind) {
    case "device":
      (source.storage as Storage).checkAlive(`${leaf}`);
      return source.storage as Storage;
    case "host": {
      if (!onDevice && source.uses++ < KEEP_AFTER) return source.data;
      const storage = upload(device, source.data, leaf.dtype, `${leaf}`);
      // If the leaf was donated meanwhile, a new tensor owns the values for as long as they are referenced.
      const owner = leaf.source === source ? leaf : new Tensor(leaf.shape, leaf.dtype, source);
      owner.settle(storage);
      return storage;
    }
    case "placeholder":
      return fail(
        "evaluate",
        `${leaf} is an argument of a function that compile or vmap traces; its values are not known before it ` +
          "runs, so do not await them inside",
      );
    case "disposed":
    case "donated":
      return fail("evaluate", `${leaf} ${whyGone(leaf)}`);
    case "op":
      return fail("evaluate", `${leaf} is not a leaf`);
  }
}

/** Retains the sources of tensors until `release`, whatever is disposed of or donated meanwhile. */
function hold(tensors: readonly Tensor[]): { readonly sources: Map<Tensor, Source>; release(): void } {
  const sources = new Map<Tensor, Source>();
  for (const t of ancestors(tensors)) {
    const why = whyGone(t);
    if (why) fail("evaluate", `${t} ${why}`);
    if (t.source.kind !== "op") sources.set(t, t.source);
  }
  for (const source of sources.values()) if (source.kind === "device") source.storage.retain();
  return {
    sources,
    release() {
      for (const source of sources.values()) if (source.kind === "device") source.storage.release();
      sources.clear();
    },
  };
}

async function evaluateAll(tensors: readonly Tensor[]): Promise<void> {
  // Awaited only if there is one: tensors are held from the call on, whatever is disposed of or donated after it.
  const check = anomalyCheck();
  if (check) await check(tensors, evaluateTogether);
  await evaluateTogether(tensors);
}

/** Computes tensors together; each then holds its values and drops its history. */
async function evaluateTogether(tensors: readonly Tensor[]): Promise<void> {
  for (const storage of await compute(tensors)) storage.release();
}

/** The same; returns the memory of tensors that had no values, which the caller releases. */
async function compute(tensors: readonly Tensor[]): Promise<Storage[]> {
  const held = hold(tensors);
  try {
    const pending = [...new Set(tensors)].filter((t) => t.source.kind === "op");
    if (pending.length === 0) return [];
    const device = await openDevice();
    forgetUntuned(device);
    const graph = lower(pending, device.target, [], held.sources);
    const ready = await programOf(device, graph, pending);
    const results = await ready.run(
      graph.leaves.map((leaf, k) => leafValue(device, leaf, ready.passes(k), held.sources.get(leaf))),
    );
    results.forEach((storage, k) => pending[k].settle(storage.retain()));
    return results;
  } finally {
    held.release();
  }
}

async function programOf(device: Device, graph: Graph, outputs: readonly Tensor[]): Promise<Program> {
  const { key } = graph;
  let program = programs.get(key);
  if (!program) {
    warnOfGrowth(outputs, graph.values.length);
    program = Program.build(device, graph, { keepsArena: false });
    programs.set(key, program);
  }
  try {
    return await program;
  } catch (error) {
    if (programs.peek(key) === program) programs.delete(key);
    throw error;
  }
}

/**
 * Number of successively longer new programs from the same first tensor before a warning, and maximum number of
 * warnings.
 */
const GROWTHS = 10;
const GROWTHS_TOLD = 3;
const growths = new WeakMap<Tensor, { length: number; times: number }>();
let growthsTold = 0;

/** Warns once about a history that is never evaluated, so that each program repeats all earlier ones. */
function warnOfGrowth(outputs: readonly Tensor[], length: number): void {
  // Constants have no inputs and cost nothing.
  const oldest = ancestors(outputs).find((t) => inputsOf(t).length > 0);
  if (!oldest) return;
  const known = growths.get(oldest) ?? { length: 0, times: 0 };
  if (length <= known.length) return;
  growths.set(oldest, { length, times: known.times + 1 });
  if (known.times + 1 !== GROWTHS || growthsTold++ >= GROWTHS_TOLD) return;
  warn(
    `evaluate: ${GROWTHS} programs in turn, each longer than the last, began with the same tensor ${oldest}; this ` +
      `one has ${length} operators. ` +
      "What is never evaluated keeps its whole history: evaluate the state of a loop in each step, as in " +
      "[loss, params] = await evaluate([loss, params]), or compile the step",
  );
}

async function read(t: Tensor): Promise<TypedArray> {
  const why = whyGone(t);
  if (why) fail("evaluate", `${t} ${why}`);
  if (t.source.kind === "host") {
    checkAttached("data", t.source.data);
    return t.source.data.slice();
  }
  const check = t.source.kind === "op" ? anomalyCheck() : null;
  if (check) await check([t], evaluateTogether);
  let storage = t.source.kind === "device" ? (t.source.storage as Storage).retain() : (await compute([t]))[0];
  try {
    const device = await openDevice();
    // Another evaluation may have been faster; placeholders are rejected.
    storage ??= (leafValue(device, t, true) as Storage).retain();
    storage.checkAlive(`${t}`);
    return await readBuffer(device, storage.buffer, t.dtype, t.size);
  } finally {
    storage?.release();
  }
}

setEvaluator({ evaluate: evaluateAll, read });

/**
 * Computes all tensors of a tree in one submission and returns the tree. Afterwards the tensors hold their values, and
 * reading them only costs a copy. In a loop, evaluate all state that is carried between steps: an unevaluated tensor
 * keeps its history, which the next program computes again.
 * @example
 * ```ts
 * import { evaluate, random } from "voxgrad";
 *
 * const x = random.normal(random.key(0), { shape: [100] });
 * const { mean, variance } = await evaluate({ mean: x.mean(), variance: x.variance() });
 * ```
 */
export function evaluate<T>(values: T): Promise<T> {
  const leaves = tree.leaves<unknown>(values).filter((x) => x instanceof Tensor);
  checkReadable("evaluate", leaves);
  return evaluateTree(values, leaves);
}

async function evaluateTree<T>(values: T, leaves: readonly Tensor[]): Promise<T> {
  tree.map<unknown, void>(values, (leaf, path) => {
    const plain = !["object", "function"].includes(typeof leaf) || ArrayBuffer.isView(leaf);
    // Tensors inside would stay unevaluated.
    if (!(leaf instanceof Tensor) && !plain) {
      fail("evaluate", `values are trees of tensors, got ${show(leaf)}${path && ` at ${path}`}`);
    }
  });
  await requireEvaluator().evaluate(leaves);
  return values;
}
