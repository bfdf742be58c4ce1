/** The arguments of a compiled function: their signature, their leaves, and the donation of tensors. */
import { callSite } from "../core/call_site.ts";
import { check, fail, isPlain, show } from "../core/errors.ts";
import { Tensor } from "../core/tensor.ts";
import * as tree from "../core/tree.ts";
import { isTraced } from "./trace.ts";

/** Calls with equal signatures share a trace. */
export function signature(args: readonly unknown[], isStatic: (position: number) => boolean): string {
  const word = (value: unknown, path: string, fixed: boolean): string => {
    if (Array.isArray(value)) return `[${value.map((x, k) => word(x, `${path}.${k}`, fixed)).join(",")}]`;
    if (isPlain(value)) {
      const entries = Object.entries(value).map(([k, x]) => `${JSON.stringify(k)}:${word(x, `${path}.${k}`, fixed)}`);
      return `{${entries.join(",")}}`;
    }
    if (value instanceof Tensor) {
      check(!fixed, "compile", () => `the argument ${path} is static, so it takes no tensors, got ${value}`);
      return `${value.dtype}[${value.shape}]`;
    }
    if (typeof value === "number") return !fixed ? "number" : Object.is(value, -0) ? "-0" : String(value);
    if (typeof value === "string") return JSON.stringify(value);
    if (value === undefined || value === null || typeof value === "boolean") return String(value);
    return fail(
      "compile",
      `the argument ${path} is ${show(value)}; it takes trees of tensors, numbers, truth values and strings`,
    );
  };
  return args.map((arg, k) => word(arg, String(k), isStatic(k))).join(" ");
}

/** The argument positions listed in an option. */
export function positionsOf(name: string, positions: unknown): readonly number[] {
  if (positions === undefined) return [];
  check(
    Array.isArray(positions) &&
      positions.every((k) => Number.isInteger(k) && k >= 0) &&
      new Set(positions).size === positions.length,
    "compile",
    () => `${name} lists argument positions, got ${show(positions)}; each once, such as [0, 1]`,
  );
  return positions;
}

/** A leaf of the arguments. */
export interface ArgumentLeaf {
  readonly leaf: Tensor;
  readonly donated: boolean;
}

/** The arguments with traced leaves replaced by `leaves`. */
export function withLeaves(
  args: readonly unknown[],
  leaves: readonly Tensor[],
  isStatic: (k: number) => boolean,
): unknown[] {
  let next = 0;
  return args.map((arg, k) => (isStatic(k) ? arg : tree.map(arg, (leaf) => (isTraced(leaf) ? leaves[next++] : leaf))));
}

/** Holds the arguments of a call for its duration, unaffected by what happens to the caller's tensors meanwhile. */
export function takeArguments(inside: readonly ArgumentLeaf[]): {
  readonly values: readonly Tensor[];
  /** From here on the device may be overwriting them. */
  begin(): void;
  end(): void;
  fail(): void;
} {
  const at = new Error();
  const donation = { where: () => callSite(at.stack), failed: false };
  const moved = new Map<Tensor, Tensor>();
  for (const { leaf, donated } of inside) if (donated && !moved.has(leaf)) moved.set(leaf, leaf.donate(donation));
  const held: Tensor[] = [];
  const hold = (leaf: Tensor): Tensor => {
    const { source } = leaf;
    if (source.kind !== "device") return leaf;
    held.push(new Tensor(leaf.shape, leaf.dtype, { kind: "device", storage: source.storage.retain() }));
    return held.at(-1)!;
  };
  const values = inside.map(({ leaf }) => moved.get(leaf) ?? hold(leaf));
  let begun = false;
  const end = (): void => {
    for (const t of [...moved.values(), ...held.splice(0)]) t.dispose();
  };
  return {
    values,
    begin: () => (begun = true),
    end,
    fail() {
      if (begun) donation.failed = true;
      else for (const [leaf, values] of moved) leaf.takeBack(values);
      end();
    },
  };
}
