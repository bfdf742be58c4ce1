/** A loop as a unit of the graph: the graph of one step, computed for each slice of its inputs. */
import { isFloat } from "../../core/dtype.ts";
import { fail } from "../../core/errors.ts";
import type { Loop, LoopAttrs, Op } from "../../core/op.ts";
import { addPrints, collectPrints, type Print, printed, withTensors } from "../../ops/prints.ts";
import { node, Tensor } from "../../core/tensor.ts";
import { scalar } from "../../ops/elementwise/creation.ts";
import { add } from "../../ops/elementwise/elementwise.ts";
import { broadcastTo } from "../../ops/shape/broadcast_to.ts";
import { alias, isStopGradient } from "../../ops/shape/reshape.ts";
import { moveAxis } from "../../ops/shape/transpose.ts";
import { call, close } from "../closed.ts";
import { ancestorsSince, type Batches, type Batching, parentsOf, type Unit } from "../unit.ts";

const loopOp: Op<LoopAttrs & { unit: Unit }> = {
  name: "scan",
  lowering: { kind: "loop" },
  vjp: () => fail("scan", "reverse mode takes it as a whole"),
  jvp: () => fail("scan", "forward mode takes it as a whole"),
};

interface LoopOptions {
  readonly length: number;
  readonly reverse: boolean;
  /** The first carries. */
  readonly carries: readonly Tensor[];
  /** Tensors whose slices along axis 0 the steps get. */
  readonly slices: readonly Tensor[];
}

/** What a step gives: the next carries, and values of which every step's is kept. */
interface Step {
  readonly carries: readonly Tensor[];
  readonly kept: readonly Tensor[];
}

/** A step, from the index of its slices (i32 scalar), the carries and the slices. */
export type StepFunction = (index: Tensor, carries: readonly Tensor[], slices: readonly Tensor[]) => Step;

/** The last carries, the kept values stacked along a new axis 0, and, stacked too, the carries before each step. */
interface Results extends Step {
  readonly before: readonly Tensor[];
  /** What the steps print. */
  readonly prints: readonly Print[];
}

/** A loop of at least one step. The step function is called once, on placeholders. */
export function makeLoop(options: LoopOptions, step: StepFunction): Results {
  const { length, reverse, carries, slices } = options;
  const like = [
    { shape: [], dtype: "i32" as const },
    ...carries,
    ...slices.map(({ shape, dtype }) => ({ shape: shape.slice(1), dtype })),
  ];
  let prints: readonly Print[] = [];
  const { params, outputs, captured } = close("scan", like, true, ([index, ...rest]) => {
    const own = rest.slice(0, carries.length);
    const collected = collectPrints(() => step(index, own, rest.slice(carries.length)));
    prints = collected.prints;
    const given = collected.result;
    // Reverse mode needs the carries before each step; lowering drops what is not used.
    return [...given.carries, ...given.kept, ...printed(prints), ...own];
  });
  const inputs = [...carries, ...slices, ...captured];
  const unit = new LoopUnit({
    length,
    reverse,
    carries: carries.length,
    slices: slices.length,
    params,
    outputs,
    inputs,
  });
  const { named } = unit;
  const given = named.kept.length - printed(prints).length;
  const lines = withTensors(prints, named.kept.slice(given));
  return {
    ...named,
    kept: named.kept.slice(0, given),
    prints: lines.length > 0 ? [{ kind: "each", length, reverse, prints: lines }] : [],
  };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, k) => from + k);
const zero = (like: Tensor): Tensor => scalar(0, like.dtype, like.shape);

class LoopUnit implements Unit {
  readonly loop: Loop;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[] = [];
  readonly results: readonly Tensor[];

  constructor(loop: Omit<Loop, "results">) {
    const results: Tensor[] = [];
    this.loop = { ...loop, results };
    this.inputs = loop.inputs;
    this.results = results;
    loop.outputs.forEach(({ shape, dtype }, k) => {
      const attrs = { loop: this.loop, result: k, unit: this };
      results.push(node(loopOp, loop.inputs, attrs, k < loop.carries ? shape : [loop.length, ...shape], dtype));
    });
  }

  /** Number of kept values. */
  get #kept(): number {
    return this.results.length - 2 * this.loop.carries;
  }

  get named(): Omit<Results, "prints"> {
    const { carries } = this.loop;
    const end = carries + this.#kept;
    return {
      carries: this.results.slice(0, carries),
      kept: this.results.slice(carries, end),
      before: this.results.slice(end),
    };
  }

  replay(now: (t: Tensor) => Tensor): readonly Tensor[] {
    return new LoopUnit({ ...this.loop, inputs: this.inputs.map(now) }).results;
  }

  // The tangents of carries are carried beside them: dc' = df/dc dc + df/dx dx.
  readonly forward: Unit["forward"] = (tangentOf, now, push) => {
    const { carries: count, slices } = this.loop;
    const inputs = this.inputs.map(now);
    const tangents = this.inputs.map(tangentOf);
    const given = (from: number, to: number): number[] => range(from, to).filter((k) => tangents[k]);
    const [sliced, constant] = [given(count, count + slices), given(count + slices, inputs.length)];
    if (tangents.every((t) => t === null)) return { tangents: this.results.map(() => null) };
    for (let moving = given(0, count);;) {
      let out: readonly (Tensor | null)[] = [];
      const options = {
        carries: [...inputs.slice(0, count), ...moving.map((k) => tangents[k] ?? zero(inputs[k]))],
        slices: [...inputs.slice(count, count + slices), ...sliced.map((k) => tangents[k]!)],
      };
      const { carries, kept, before, prints } = makeLoop({ ...this.loop, ...options }, (index, c, x) => {
        const constants = inputs.slice(count + slices).map((t, k) => tangents[count + slices + k] ? alias(t) : t);
        const points = [...c.slice(0, count), ...x.slice(0, slices), ...constants];
        const directions = [...c.slice(count), ...x.slice(slices), ...constant.map((k) => tangents[k]!)];
        const pushed = push(
          [...moving, ...sliced, ...constant].map((k) => points[k]),
          directions,
          call(this.loop, [index, ...points]),
        );
        out = pushed.tangents;
        const { values } = pushed;
        const outside = values.slice(count, count + this.#kept);
        return {
          carries: [...values.slice(0, count), ...moving.map((k) => out[k] ?? zero(values[k]))],
          kept: [...outside, ...outside.flatMap((_, k) => out[count + k] ?? [])],
        };
      });
      const grown = range(0, count).filter((k) => out[k] || moving.includes(k));
      if (grown.length > moving.length) {
        moving = grown;
        continue;
      }
      addPrints(prints);
      const at = (list: readonly Tensor[], k: number): Tensor | null =>
        moving.includes(k) ? list[count + moving.indexOf(k)] : null;
      let next = this.#kept;
      return {
        values: [...carries.slice(0, count), ...kept.slice(0, this.#kept), ...before.slice(0, count)],
        tangents: [
          ...range(0, count).map((k) => at(carries, k)),
          ...range(0, this.#kept).map((k) => (out[count + k] ? kept[next++] : null)),
          ...range(0, count).map((k) => at(before, k)),
        ],
      };
    }
  };

  // From the last step to the first: the cotangent of a carry before a step is that after it, times df/dc, plus those
  // of what the step gave. The step is computed again from the carry before it.
  readonly backward: Unit["backward"] = (cotangents, wanted, pull) => {
    const { carries: count, slices, inputs, reverse } = this.loop;
    const end = count + this.#kept;
    const seeds = range(count, end).filter((k) => cotangents[k]);
    const { active, targets } = this.#differentiated(cotangents, seeds, wanted);
    const sliced = targets.filter((k) => k < count + slices);
    const constant = targets.filter((k) => k >= count + slices);
    const inner = active.filter((k) => cotangents[end + k]);
    const results = makeLoop(
      {
        length: this.loop.length,
        reverse: !reverse,
        carries: [...active.map((k) => cotangents[k] ?? zero(inputs[k])), ...constant.map((k) => zero(inputs[k]))],
        slices: [
          ...this.named.before,
          ...inputs.slice(count, count + slices),
          ...seeds.map((k) => cotangents[k]!),
          ...inner.map((k) => cotangents[end + k]!),
        ],
      },
      (index, carried, x) => {
        const constants = inputs.slice(count + slices).map((t, k) =>
          constant.includes(count + slices + k) ? alias(t) : t
        );
        const points = [...x.slice(0, count + slices), ...constants];
        const values = call(this.loop, [index, ...points]);
        const given = x.slice(count + slices);
        const grads = pull(
          [...active, ...sliced, ...constant].map((k) => points[k]),
          [...active, ...seeds].map((k) => values[k]),
          [...carried.slice(0, active.length), ...given.slice(0, seeds.length)],
        );
        const own = active.map((k, j) =>
          inner.includes(k) ? add(grads[j], given[seeds.length + inner.indexOf(k)]) : grads[j]
        );
        const sums = constant.map((_, j) => add(carried[active.length + j], grads[active.length + sliced.length + j]));
        return { carries: [...own, ...sums], kept: grads.slice(active.length, active.length + sliced.length) };
      },
    );
    addPrints(results.prints);
    return [...active, ...constant].map((k, j) => [inputs[k], results.carries[j]] as const).concat(
      sliced.map((k, j) => [inputs[k], results.kept[j]] as const),
    );
  };

  /**
   * The carries that cotangents pass through on their way to wanted inputs, and the other inputs that they reach; by
   * position among the inputs.
   */
  #differentiated(
    cotangents: readonly (Tensor | null)[],
    seeds: readonly number[],
    wanted: (t: Tensor) => boolean,
  ): { active: number[]; targets: number[] } {
    const { carries: count, inputs } = this.loop;
    const end = count + this.#kept;
    const reached = this.#reached();
    const isWanted = inputs.map((t) => isFloat(t.dtype) && wanted(t));
    const all = range(0, count);
    /** Adds positions until `more` finds none. */
    const closure = (start: readonly number[], more: (k: number, known: ReadonlySet<number>) => boolean) => {
      const known = new Set(start);
      for (let before = -1; before < known.size;) {
        before = known.size;
        for (const k of all) if (!known.has(k) && more(k, known)) known.add(k);
      }
      return known;
    };
    const useful = closure(
      all.filter((k) => isWanted[k]),
      (k, known) => [...reached[k]].some((p) => (p < count ? known.has(p) : isWanted[p])),
    );
    const hit = closure(
      all.filter((k) => cotangents[k] || cotangents[end + k] || seeds.some((s) => reached[s].has(k))),
      (k, known) => [...known].some((p) => reached[p].has(k)),
    );
    const active = all.filter((k) => useful.has(k) && hit.has(k) && isFloat(inputs[k].dtype));
    const targets = range(count, inputs.length).filter((p) =>
      isWanted[p] && [...active, ...seeds].some((k) => reached[k].has(p))
    );
    return { active, targets };
  }

  /** For each output but the carries before a step: the positions of the inputs that it depends on differentiably. */
  #reached(): ReadonlySet<number>[] {
    const { carries: count, outputs, params } = this.loop;
    const isParam = new Set(params);
    const own = outputs.slice(0, count + this.#kept);
    const sets = new Map<Tensor, ReadonlySet<number>>();
    params.forEach((t, k) => k > 0 && isFloat(t.dtype) && sets.set(t, new Set([k - 1])));
    const first = Math.min(...params.map((t) => t.id));
    for (const t of ancestorsSince(own, first, (t) => isParam.has(t) || isStopGradient(t))) {
      if (isParam.has(t) || isStopGradient(t) || !isFloat(t.dtype)) continue;
      sets.set(t, new Set(parentsOf(t).flatMap((x) => [...(sets.get(x) ?? [])])));
    }
    return own.map((t) => sets.get(t) ?? new Set());
  }

  batch({ size, batches, extend }: Batching): readonly (Tensor | null)[] {
    const { carries: count, slices, inputs } = this.loop;
    if (!inputs.some((t) => batches.has(t))) return this.results.map(() => null);
    const repeat = (t: Tensor): Tensor => broadcastTo(t, { shape: [size, ...t.shape] });
    for (let moving = range(0, count).filter((k) => batches.has(inputs[k]));;) {
      let isBatched: boolean[] = [];
      const options = {
        carries: range(0, count).map((k) =>
          moving.includes(k) ? (batches.get(inputs[k]) ?? repeat(inputs[k])) : inputs[k]
        ),
        slices: range(count, count + slices).map((k) => {
          const batch = batches.get(inputs[k]);
          return batch ? moveAxis(batch, { source: 0, destination: 1 }) : inputs[k];
        }),
      };
      const { carries, kept, before, prints } = makeLoop({ ...this.loop, ...options }, (index, c, x) => {
        const known: Batches = new Map();
        const example = (batch: Tensor): Tensor => {
          const t = new Tensor(batch.shape.slice(1), batch.dtype, { kind: "placeholder" });
          known.set(t, batch);
          return t;
        };
        const points = inputs.map((t, k) => {
          if (k < count) return moving.includes(k) ? example(c[k]) : c[k];
          if (k < count + slices) return batches.has(t) ? example(x[k - count]) : x[k - count];
          const batch = batches.get(t);
          return batch ? example(batch) : t;
        });
        const values = call(this.loop, [index, ...points]).slice(0, count + this.#kept);
        extend(values, known);
        isBatched = values.map((t) => known.has(t));
        return {
          carries: values.slice(0, count).map((t, k) => moving.includes(k) ? (known.get(t) ?? repeat(t)) : t),
          kept: values.slice(count).map((t) => known.get(t) ?? t),
        };
      });
      const grown = range(0, count).filter((k) => isBatched[k] || moving.includes(k));
      if (grown.length > moving.length) {
        moving = grown;
        continue;
      }
      addPrints(prints);
      return [
        ...range(0, count).map((k) => (moving.includes(k) ? carries[k] : null)),
        ...range(0, this.#kept).map((
          k,
        ) => (isBatched[count + k] ? moveAxis(kept[k], { source: 1, destination: 0 }) : null)),
        ...range(0, count).map((k) => (moving.includes(k) ? moveAxis(before[k], { source: 1, destination: 0 }) : null)),
      ];
    }
  }
}
