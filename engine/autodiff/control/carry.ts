/** Trees that pass from step to step, and into and out of branches. */
import { isFloat } from "../../core/dtype.ts";
import { check, fail, show } from "../../core/errors.ts";
import { pairLeaves } from "../../core/pair.ts";
import { mixed } from "../../core/precision.ts";
import { sameShape } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { refusePromise } from "../../core/tracing.ts";
import * as tree from "../../core/tree.ts";
import { cast } from "../../ops/elementwise/elementwise.ts";

/** The leaves of a tree, which are tensors. */
export function tensorsOf(name: string, what: string, value: unknown): Tensor[] {
  const list: Tensor[] = [];
  tree.map<unknown, void>(value, (leaf, path) => {
    refusePromise(name, leaf);
    check(
      leaf instanceof Tensor,
      name,
      () => `${what} is a tree of tensors, got ${show(leaf)}${path && ` at ${path}`}${hint(leaf)}`,
    );
    list.push(leaf);
  });
  return list;
}

const hint = (leaf: unknown): string => typeof leaf === "number" ? `; write tensor(${leaf})` : "";

/** The leaves of `given` in the order of those of `like`, which they match in path, shape and dtype. */
export function alikeLeaves(name: string, what: string, like: unknown, given: unknown, why: string): Tensor[] {
  refusePromise(name, given);
  return pairLeaves(name, what, like, given).map(({ path, of, given }) => {
    const before = of as Tensor;
    const at = `${what}${path && ` at ${path}`}`;
    if (!(given instanceof Tensor)) {
      return fail(name, `${at}: a tensor like ${before} belongs there, got ${show(given)}${hint(given)}`);
    }
    if (!sameShape(before.shape, given.shape)) {
      fail(name, `${at}: the shape is that of ${before}, ${why}, got ${given}`);
    }
    // In mixed precision products give f16, whatever their inputs are.
    if (mixed() && isFloat(before.dtype) && isFloat(given.dtype)) return cast(given, before.dtype);
    if (before.dtype !== given.dtype) {
      fail(name, `${at}: the dtype is that of ${before}, ${why}, got ${given}; cast one of them`);
    }
    return given;
  });
}
