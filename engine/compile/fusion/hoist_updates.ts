/** Hoists parameter updates to where their gradient is ready, and lets them overwrite the old parameters. */
import type { KernelGroup } from "./kernel_groups.ts";
import { type Graph, storageOf, type Value } from "../graph/lower.ts";

/**
 * Moves elementwise outputs that can overwrite a donated leaf, and values computed only for them, to the earliest
 * position where their inputs are ready and nothing else needs the leaf. A parameter update then follows its gradient
 * immediately, and gradients need not all be live at once.
 */
export function hoistUpdates(
  groups: readonly KernelGroup[],
  outputs: ReadonlySet<Value>,
  donated: ReadonlySet<number>,
): readonly KernelGroup[] {
  if (donated.size === 0) return groups;
  const readers = new Map<Value, KernelGroup[]>();
  for (const group of groups) for (const x of group.reads) readers.set(x, [...(readers.get(x) ?? []), group]);
  /** Groups to move, with the leaves that they may overwrite. */
  const moving = new Map<KernelGroup, Value[]>();
  for (const group of [...groups].reverse()) {
    const [v] = group.members as [Value];
    if (!group.mayOverwrite) continue;
    const leaves = outputs.has(v)
      ? group.aligned().filter((x) => x.leaf !== null && donated.has(x.leaf) && !outputs.has(x))
      : [];
    if (leaves.length > 0 || (!outputs.has(v) && readers.get(v)?.every((user) => moving.has(user)))) {
      moving.set(group, leaves);
    }
  }
  const made = new Map<Value, number>();
  const places = new Map<KernelGroup, number>();
  groups.forEach((group, k) => {
    const leaves = moving.get(group);
    const after = Math.max(-1, ...group.reads.map((x) => made.get(x) ?? -1));
    // A later reader prevents overwriting the leaf.
    const last = (leaves ?? []).map((leaf) =>
      Math.max(after, ...readers.get(leaf)!.map((other) => (other === group ? -1 : (places.get(other) ?? k))))
    );
    const at = !leaves || after < 0 ? k : last.length > 0 ? Math.min(k, ...last) : after;
    places.set(group, at);
    for (const v of group.members) made.set(v, at);
  });
  return [...groups].sort((a, b) => places.get(a)! - places.get(b)!);
}

/** Outputs that may overwrite a donated leaf: elementwise in it, and not followed by reads of the leaf. */
export function chooseInPlace(
  graph: Graph,
  groups: readonly KernelGroup[],
  donated: ReadonlySet<number>,
): Map<Value, Value> {
  const result = new Map<Value, Value>();
  if (donated.size === 0) return result;
  const lastRead = new Map<Value, KernelGroup>();
  for (const group of groups) for (const read of group.reads) lastRead.set(read, group);
  const outputs = new Set(graph.outputs.map(storageOf));
  const taken = new Set<Value>();
  for (const group of groups) {
    const [v] = group.members as [Value];
    if (!outputs.has(v)) continue;
    const leaf = group.aligned().find(
      (x) => x.leaf !== null && donated.has(x.leaf) && lastRead.get(x) === group && !taken.has(x) && !outputs.has(x),
    );
    if (!leaf) continue;
    taken.add(leaf);
    result.set(v, leaf);
  }
  return result;
}
