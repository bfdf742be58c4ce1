/** cond: one of two functions, by a truth value that is known when the program runs. */
import { isFloat } from "../../core/dtype.ts";
import { check, checkFunction, fail, show } from "../../core/errors.ts";
import type { Op } from "../../core/op.ts";
import { withinStep } from "../../core/precision.ts";
import { addPrints, collectPrints, type Print, printed, withTensors } from "../../ops/prints.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { callTraced } from "../../core/tracing.ts";
import * as tree from "../../core/tree.ts";
import { scalar } from "../../ops/elementwise/creation.ts";
import { where } from "../../ops/elementwise/elementwise.ts";
import { reshape } from "../../ops/shape/reshape.ts";
import { call, close, type Closed } from "../closed.ts";
import type { Batches, Batching, PushForward, Unit } from "../unit.ts";
import { alikeLeaves, tensorsOf } from "./carry.ts";

const condOp: Op<{ unit: Unit }> = {
  name: "cond",
  lowering: { kind: "view" },
  outside: ({ unit }) => unit.inputs,
  vjp: () => fail("cond", "reverse mode takes it as a whole"),
  jvp: () => fail("cond", "forward mode takes it as a whole"),
};

type Branch = (params: readonly Tensor[]) => readonly Tensor[];

/**
 * The results of `onTrue` where `predicate` holds, else those of `onFalse`. The predicate may have batch axes, which
 * are then the first axes of all inputs and results.
 */
export function makeCond(
  predicate: Tensor,
  inputs: readonly Tensor[],
  onTrue: Branch,
  onFalse: Branch,
): readonly Tensor[] {
  const branches = [onTrue, onFalse].map((branch) => {
    let prints: readonly Print[] = [];
    const closed = close("cond", inputs, false, (params) => {
      const collected = collectPrints(() => branch(params));
      prints = collected.prints;
      return [...collected.result, ...printed(prints)];
    });
    return { ...closed, prints };
  });
  const captured = [...new Set(branches.flatMap((branch) => branch.captured))];
  const operands = [...inputs, ...captured];
  const closed = branches.map(({ params, outputs, prints }): Closed => ({
    params: [...params.slice(0, inputs.length), ...captured],
    outputs: outputs.slice(0, outputs.length - printed(prints).length),
  }));
  branches.forEach(({ outputs, prints }, k) => {
    if (prints.length === 0) return;
    const values = call({ ...closed[k], outputs: outputs.slice(closed[k].outputs.length) }, operands);
    addPrints([printsWhere(predicate, k === 0, withTensors(prints, values))]);
  });
  return new CondUnit(predicate, operands, closed as [Closed, Closed]).results;
}

/** Prints of a branch; a predicate with batch axes has one for each of their indices. */
function printsWhere(predicate: Tensor, value: boolean, prints: readonly Print[]): Print {
  const where: Print = { kind: "when", predicate, value, prints };
  return predicate.shape.reduceRight<Print>(
    (print, length) => ({ kind: "each", length, reverse: false, prints: [print] }),
    where,
  );
}

/** a or b; the axes of the predicate are their first. */
const select = (predicate: Tensor, a: Tensor, b: Tensor): Tensor =>
  where(reshape(predicate, { shape: [...predicate.shape, ...a.shape.slice(predicate.rank).map(() => 1)] }), a, b);

/**
 * Both branches are computed, and a result is selected. Derivatives select too, after the derivatives of the branches:
 * those of a branch that is not taken may be infinite or NaN, and must not be multiplied by 0.
 */
class CondUnit implements Unit {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[] = [];
  readonly results: readonly Tensor[];
  readonly #predicate: Tensor;
  /** The inputs of the branches. */
  readonly #operands: readonly Tensor[];
  readonly #branches: readonly [Closed, Closed];

  constructor(predicate: Tensor, operands: readonly Tensor[], branches: readonly [Closed, Closed]) {
    this.#predicate = predicate;
    this.#operands = operands;
    this.#branches = branches;
    this.inputs = [predicate, ...operands];
    const [a, b] = branches.map((branch) => call(branch, operands));
    const selected = a.map((value, k) => select(predicate, value, b[k]));
    this.results = selected.map((t) => node(condOp, [t], { unit: this }, t.shape, t.dtype));
  }

  /** Another cond with the same predicate. */
  #with(inputs: readonly Tensor[], branch: (closed: Closed) => Branch): readonly Tensor[] {
    const [onTrue, onFalse] = this.#branches;
    return makeCond(this.#predicate, inputs, branch(onTrue), branch(onFalse));
  }

  readonly forward: Unit["forward"] = (tangentOf, now, push) => {
    if (this.inputs.some((t) => now(t) !== t)) {
      const tangents = new Map(this.#operands.map((t) => [now(t), tangentOf(t)]));
      const unit = new CondUnit(now(this.#predicate), this.#operands.map(now), this.#branches);
      return { values: unit.results, tangents: unit.#push((t) => tangents.get(t) ?? null, push) };
    }
    return { tangents: this.#push(tangentOf, push) };
  };

  #push(tangentOf: (t: Tensor) => Tensor | null, push: PushForward): readonly (Tensor | null)[] {
    const operands = this.#operands;
    const moving = operands.map((_, k) => k).filter((k) => tangentOf(operands[k]));
    const depends = this.results.map(() => false);
    const floats = this.results.map((_, k) => k).filter((k) => isFloat(this.results[k].dtype));
    if (moving.length === 0 || floats.length === 0) return this.results.map(() => null);
    const tangents = this.#with(
      [...operands, ...moving.map((k) => tangentOf(operands[k])!)],
      (branch) => (params) => {
        const outputs = call(branch, params.slice(0, operands.length));
        const pushed = push(moving.map((k) => params[k]), params.slice(operands.length), outputs).tangents;
        return floats.map((k) => {
          if (pushed[k]) depends[k] = true;
          return pushed[k] ?? scalar(0, outputs[k].dtype, outputs[k].shape);
        });
      },
    );
    return this.results.map((_, k) => (depends[k] ? tangents[floats.indexOf(k)] : null));
  }

  readonly backward: Unit["backward"] = (cotangents, wanted, pull) => {
    const operands = this.#operands;
    const seeds = this.results.map((_, k) => k).filter((k) => cotangents[k] && isFloat(this.results[k].dtype));
    const targets = operands.map((_, k) => k).filter((k) => isFloat(operands[k].dtype) && wanted(operands[k]));
    const grads = this.#with(
      [...operands, ...seeds.map((k) => cotangents[k]!)],
      (branch) => (params) => {
        const outputs = call(branch, params.slice(0, operands.length));
        return pull(
          targets.map((k) => params[k]),
          seeds.map((k) => outputs[k]),
          params.slice(operands.length),
        );
      },
    );
    return targets.map((k, j) => [operands[k], grads[j]]);
  };

  batch({ batches, full, extend }: Batching): readonly (Tensor | null)[] {
    if (!this.inputs.some((t) => batches.has(t))) return this.results.map(() => null);
    const operands = this.#operands;
    // Examples that branch apart have inputs and derivatives of their own.
    const apart = this.#predicate.rank > 0 || batches.has(this.#predicate);
    const isBatched = operands.map((t) => apart || batches.has(t));
    const branch = (closed: Closed): Branch => (params) => {
      const known: Batches = new Map();
      const examples = params.map((batch, k) => {
        if (!isBatched[k]) return batch;
        const t = new Tensor(batch.shape.slice(1), batch.dtype, { kind: "placeholder" });
        known.set(t, batch);
        return t;
      });
      const outputs = call(closed, examples);
      extend(outputs, known);
      return outputs.map((t) => known.get(t) ?? full(t));
    };
    const [onTrue, onFalse] = this.#branches;
    return makeCond(
      apart ? full(this.#predicate) : this.#predicate,
      operands.map((t, k) => (isBatched[k] ? full(t) : t)),
      branch(onTrue),
      branch(onFalse),
    );
  }

  replay(now: (t: Tensor) => Tensor): readonly Tensor[] {
    return new CondUnit(now(this.#predicate), this.#operands.map(now), this.#branches).results;
  }
}

/** Rejects anything but a truth value as a tensor. */
export function checkPredicate(name: string, what: string, value: unknown): asserts value is Tensor {
  check(
    value instanceof Tensor && value.rank === 0 && value.dtype === "bool",
    name,
    () => `${what} is a bool scalar, such as x.sum().greater(0), got ${show(value)}`,
  );
}

/**
 * onTrue(...operands) if the predicate holds, else onFalse(...operands), as jax.lax.cond. Both are computed and one is
 * selected, so they must be cheap enough; values and derivatives of the other have no effect, even if they are NaN.
 * With a predicate for each example, under vmap, each example gets its own.
 *
 * @param predicate a bool scalar, or a plain boolean, which calls one function only
 * @param onTrue a function from the operands to a tree of tensors
 * @param onFalse another, whose result has the same structure, shapes and dtypes
 * @param operands trees of tensors; both functions may also use tensors from outside
 * @throws VoxgradError for another predicate, and for results that differ in structure, shape or dtype, naming the path
 * @example
 * ```ts
 * import { cond, grad, sqrt, type Tensor, tensor } from "voxgrad";
 *
 * const root = (x: Tensor) => cond(x.greater(0), (x: Tensor) => sqrt(x), (x: Tensor) => x.mul(0), x);
 * await grad(root)(tensor(4)).item(); // 0.25
 * await grad(root)(tensor(0)).item(); // 0: the infinite slope of the root is not taken
 * ```
 */
export function cond<A extends unknown[], R>(
  predicate: Tensor | boolean,
  onTrue: (...operands: A) => R,
  onFalse: (...operands: A) => R,
  ...operands: A
): R {
  checkFunction("cond", "onTrue", onTrue);
  checkFunction("cond", "onFalse", onFalse);
  // Traced too, so that a compiled function is part of it whatever the predicate is.
  if (typeof predicate === "boolean") return callTraced("cond", () => (predicate ? onTrue : onFalse)(...operands));
  checkPredicate("cond", "the predicate", predicate);
  let like: unknown = null;
  const inputs = tensorsOf("cond", "the list of operands", operands);
  const results = makeCond(
    predicate,
    inputs,
    (params) => {
      like = withinStep(() => onTrue(...(tree.rebuild(operands, params) as A)));
      return tensorsOf("cond", "the result of onTrue", like);
    },
    (params) => {
      const other: unknown = withinStep(() => onFalse(...(tree.rebuild(operands, params) as A)));
      return alikeLeaves("cond", "the result of onFalse", like, other, "which onTrue gives");
    },
  );
  return tree.rebuild(like, results) as R;
}
