/** Evaluation without `compile`: the same road, through a cache keyed by the structure of the graph. */
import type { TypedArray } from "../core/dtype.ts";
import { fail, show } from "../core/errors.ts";
import { requireEvaluator, setEvaluator, Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { device as openDevice, type Device, onClose, readBuffer, Storage, upload } from "../gpu/mod.ts";
import { checkFinite, isChecking } from "./anomaly.ts";
import { lower } from "./lower.ts";
import { Program } from "./program.ts";

/** Programs kept at most; the least recently used go first. */
const CAPACITY = 256;
const programs = new Map<string, Promise<Program>>();
onClose(() => programs.clear());
/** The state of tuning that they were made in. */
let version = 0;

function forgetUntuned(device: Device): void {
  if (version === device.tuned.version) return;
  version = device.tuned.version;
  for (const program of programs.values())
    program.then(
      (p) => p.dispose(),
      () => undefined,
    );
  programs.clear();
}

/** Host values that are used a second time move to the device for good. */
const KEEP_AFTER = 1;

/** A leaf as a program takes it: device memory, or host values to be written for this call. */
export function leafValue(device: Device, leaf: Tensor, onDevice: boolean): Storage | TypedArray {
  const { source } = leaf;
  switch (source.kind) {
    case "device":
      (source.storage as Storage).checkAlive(`${leaf}`);
      return source.storage as Storage;
    case "host":
      if (!onDevice && source.uses++ < KEEP_AFTER) return source.data;
      leaf.settle(upload(device, source.data, leaf.dtype, `${leaf}`));
      return leafValue(device, leaf, onDevice);
    case "placeholder":
      return fail(
        "evaluate",
        `${leaf} is an argument of a function that compile or vmap traces; its values are not known before it runs, so do not await them inside`,
      );
    case "disposed":
      return fail("evaluate", `${leaf} was disposed of; keep a tensor until its last use`);
    case "op":
      return fail("evaluate", `${leaf} is not a leaf`);
  }
}

async function evaluateAll(tensors: readonly Tensor[]): Promise<void> {
  if (isChecking()) await checkFinite(tensors, evaluateTogether);
  await evaluateTogether(tensors);
}

/** Computes tensors together; each then holds its values and lets go of its history. */
async function evaluateTogether(tensors: readonly Tensor[]): Promise<void> {
  const pending = [...new Set(tensors)].filter((t) => t.source.kind === "op");
  for (const t of tensors)
    if (t.source.kind === "disposed") fail("evaluate", `${t} was disposed of; keep a tensor until its last use`);
  if (pending.length === 0) return;
  const device = await openDevice();
  forgetUntuned(device);
  const graph = lower(pending, device.target);
  let program = programs.get(graph.key);
  if (program) programs.delete(graph.key);
  else program = Program.build(device, graph, { keepsArena: false });
  programs.set(graph.key, program);
  if (programs.size > CAPACITY) {
    const [oldest, dropped] = programs.entries().next().value!;
    programs.delete(oldest);
    dropped.then(
      (p) => p.dispose(),
      () => undefined,
    );
  }
  let ready: Program;
  try {
    ready = await program;
  } catch (error) {
    if (programs.get(graph.key) === program) programs.delete(graph.key);
    throw error;
  }
  const results = await ready.run(graph.leaves.map((leaf, k) => leafValue(device, leaf, ready.passes(k))));
  results.forEach((storage, k) => pending[k]!.settle(storage));
}

async function read(t: Tensor): Promise<TypedArray> {
  if (t.source.kind === "host") return t.source.data.slice();
  if (t.source.kind === "op") await evaluateAll([t]);
  const device = await openDevice();
  const storage = leafValue(device, t, true) as Storage;
  return readBuffer(device, storage.buffer, t.dtype, t.size);
}

setEvaluator({ evaluate: evaluateAll, read });

/**
 * Computes all tensors of a tree in one submission and gives the tree back. Afterwards they hold their values; reading
 * them costs a copy alone.
 *
 * @example const { loss, grads } = await evaluate({ loss, grads });
 */
export async function evaluate<T>(values: T): Promise<T> {
  tree.map(values, (leaf, path) => {
    const plain = leaf === null || !["object", "function"].includes(typeof leaf) || ArrayBuffer.isView(leaf);
    // Tensors inside would stay unevaluated.
    if (!(leaf instanceof Tensor) && !plain)
      fail("evaluate", `values are trees of tensors, got ${show(leaf)}${path && ` at ${path}`}`);
  });
  await requireEvaluator().evaluate(tree.leaves(values).filter((x): x is Tensor => x instanceof Tensor));
  return values;
}
