/** Operators that move values, and what shapes are computed with. */
import * as vg from "../../../engine/mod.ts";
import { type Tensor, where } from "../../../engine/mod.ts";
import { type Call, type OnnxOperator, outputs } from "../file/run_graph.ts";
import {
  dtypeOf,
  fromFile,
  isFloatType,
  Known,
  known,
  lacks,
  rearranged,
  shapeOf,
  type Single,
  toNumbers,
  toTensor,
  typeOf,
  vector,
} from "../file/values.ts";
import type { OnnxTensor } from "../file/messages.ts";

const product = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1);
const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);
const reshaped = (x: Single, shape: readonly number[]): Single =>
  x instanceof Known ? new Known(shape, x.data, x.type) : x.reshape({ shape });

/** Axes of an attribute in old versions, of an input in new ones. */
const axesOf = (call: Call, input: number): readonly number[] | undefined =>
  call.list("axes") ?? (call.has(input) ? call.numbers(input) : undefined);

function reshape(call: Call): Single {
  const x = call.single(0);
  const wanted = call.list("shape") ?? call.numbers(1);
  const zeros = call.integer("allowzero", 0) === 0;
  const shape = wanted.map((n, k) => (n === 0 && zeros ? shapeOf(x)[k] : n));
  const rest = product(shapeOf(x)) / product(shape.filter((n) => n !== -1));
  return reshaped(x, shape.map((n) => (n === -1 ? rest : n)));
}

function sliced(call: Call): Single {
  const x = call.single(0);
  const rank = shapeOf(x).length;
  const [starts, ends] = call.opset < 10
    ? [call.list("starts")!, call.list("ends")!]
    : [call.numbers(1), call.numbers(2)];
  const axes = call.opset < 10 ? call.list("axes") : call.has(3) ? call.numbers(3) : undefined;
  const steps = call.opset < 10 || !call.has(4) ? starts.map(() => 1) : call.numbers(4);
  const start = new Array<number>(rank).fill(0);
  const end = [...shapeOf(x)];
  const step = new Array<number>(rank).fill(1);
  const flips: number[] = [];
  starts.forEach((from, k) => {
    const axis = positive(axes ? axes[k] : k, rank);
    const n = shapeOf(x)[axis];
    const [low, high] = steps[k] > 0 ? [0, n] : [-1, n - 1];
    const limit = (v: number): number => Math.max(low, Math.min(high, v < 0 ? v + n : v));
    let [a, b] = [limit(from), limit(ends[k])];
    if (steps[k] < 0) {
      flips.push(axis);
      // From the other end.
      [a, b] = [n - 1 - a, n - 1 - b];
    }
    [start[axis], end[axis], step[axis]] = [a, Math.max(a, b), Math.abs(steps[k])];
  });
  if (isShape(x)) {
    const shape = start.map((from, k) => Math.ceil((end[k] - from) / step[k]));
    const inner = (i: number, k: number): number => start[k] + i * step[k];
    return rearranged(
      x,
      shape,
      (at) => at.map((i, k) => flips.includes(k) ? x.shape[k] - 1 - inner(i, k) : inner(i, k)),
    );
  }
  const t = call.t(0);
  return (flips.length ? t.flip({ axes: flips }) : t).slice({ start, end, step });
}

/** Whether a value is of the arithmetic of shapes and scales, which stays on the host. */
const isShape = (x: Single): x is Known => x instanceof Known && (!isFloatType(x.type) || x.shape.length < 2);

/** Indices with negative ones counted from the end. */
const wrapped = (indices: Tensor, n: number): Tensor => where(indices.less(0), indices.add(n), indices);

function gather(call: Call): Single {
  const [x, indices] = [call.single(0), call.single(1)];
  const axis = positive(call.integer("axis", 0), shapeOf(x).length);
  if (x instanceof Known && indices instanceof Known && x.shape.length === 1) {
    return new Known(indices.shape, indices.list.map((i) => x.data[positive(i, x.data.length)]), x.type);
  }
  return call.t(0).take(wrapped(call.t(1).cast("i32"), shapeOf(x)[axis]), { axis });
}

/** Places of the rows of x that index tuples name, in x with its first axes joined. */
function rowsOf(x: Tensor, indices: Tensor): { places: Tensor; rows: Tensor; lead: readonly number[] } {
  const depth = indices.shape.at(-1)!;
  const lead = x.shape.slice(0, depth);
  let places: Tensor | null = null;
  lead.forEach((n, k) => {
    const own = wrapped(indices.select({ axis: -1, index: k }).cast("i32"), n);
    places = places === null ? own : places.mul(n).add(own);
  });
  const rows = x.reshape({ shape: [product(lead), product(x.shape.slice(depth))] });
  return { places: places!, rows, lead };
}

function gatherNd(call: Call): Tensor {
  const [x, indices] = [call.t(0), call.t(1)];
  const batch = call.integer("batch_dims", 0);
  const depth = indices.shape.at(-1)!;
  if (batch === 0) {
    const { places, rows } = rowsOf(x, indices);
    return rows.take(places, { axis: 0 }).reshape({ shape: [...indices.shape.slice(0, -1), ...x.shape.slice(depth)] });
  }
  if (batch > 1) lacks("GatherND with several batch axes");
  const parts = x.unstack({ axis: 0 }).map((part, k) => {
    const own = indices.select({ axis: 0, index: k });
    const { places, rows } = rowsOf(part, own);
    return rows.take(places, { axis: 0 }).reshape({ shape: [...own.shape.slice(0, -1), ...part.shape.slice(depth)] });
  });
  return vg.stack(parts);
}

/** Writes the updates at the places of an axis, by the reduction asked for. */
function scatterElements(call: Call): Tensor {
  const [x, updates] = [call.t(0), call.t(2)];
  const axis = positive(call.integer("axis", 0), x.rank);
  const n = x.shape[axis];
  const indices = wrapped(call.t(1).cast("i32"), n);
  const reduction = call.attribute("reduction", "none");
  // Values that are not written lie outside of the updates' shape.
  const around = (t: Tensor): Tensor => t.pad({ after: x.shape.map((m, k) => (k === axis ? 0 : m - t.shape[k])) });
  if (reduction === "add") return x.scatterAdd(around(indices), around(updates), { axis });
  if (reduction !== "none") lacks(`ScatterElements with the reduction ${reduction}`);
  const empty = vg.zeros(x.shape);
  const ones = around(vg.ones(updates.shape));
  const [sums, counts] = [
    empty.scatterAdd(around(indices), around(updates.cast("f32")), { axis }),
    empty.scatterAdd(around(indices), ones, { axis }),
  ];
  return where(counts.greater(0), sums.div(vg.maximum(counts, 1)).cast(x.dtype), x);
}

function scatterNd(call: Call): Tensor {
  const [x, indices, updates] = [call.t(0), call.t(1), call.t(2)];
  const { places, rows } = rowsOf(x, indices);
  const flat = places.flatten();
  const columns = rows.shape[1];
  const values = updates.reshape({ shape: [flat.size, columns] });
  const reduction = call.attribute("reduction", "none");
  const spread = (t: Tensor): Tensor => t.expandDims({ axis: 1 }).broadcastTo({ shape: [flat.size, columns] });
  if (reduction === "add") return rows.scatterAdd(spread(flat), values, { axis: 0 }).reshape({ shape: x.shape });
  if (reduction === "mul") {
    let product: Tensor = rows;
    values.unstack().forEach((row, k) => {
      const hit = vg.arange(rows.shape[0]).equal(flat.select({ index: k })).expandDims({ axis: 1 });
      product = where(hit, product.mul(row), product);
    });
    return product.reshape({ shape: x.shape });
  }
  if (reduction !== "none") lacks(`ScatterND with the reduction ${reduction}`);
  const sums = vg.zeros(rows.shape).scatterAdd(spread(flat), values.cast("f32"), { axis: 0 });
  const counts = vg.zeros(rows.shape).scatterAdd(spread(flat), vg.ones(values.shape), { axis: 0 });
  return where(counts.greater(0), sums.div(vg.maximum(counts, 1)).cast(x.dtype), rows).reshape({ shape: x.shape });
}

function pad(call: Call): Tensor {
  const x = call.t(0);
  const pads = call.list("pads") ?? call.list("paddings") ?? call.numbers(1);
  const value = call.opset < 11 ? call.attribute<number>("value", 0) : call.has(2) ? call.number(2) : 0;
  const mode = call.attribute("mode", "constant");
  const half = pads.length / 2;
  let y = x;
  // Negative padding cuts.
  if (pads.some((n) => n < 0)) {
    y = x.slice({
      start: x.shape.map((_, k) => Math.max(0, -pads[k])),
      end: x.shape.map((n, k) => n - Math.max(0, -pads[k + half])),
    });
  }
  const before = pads.slice(0, half).map((n) => Math.max(0, n));
  const after = pads.slice(half).map((n) => Math.max(0, n));
  if (mode === "constant") return y.pad({ before, after, value });
  return y.pad({ before, after, mode: mode === "edge" ? "replicate" : "reflect" });
}

function split(call: Call): vg.Tensor[] {
  const x = call.t(0);
  const axis = positive(call.integer("axis", 0), x.rank);
  const sizes = call.list("split") ?? (call.has(1) ? call.numbers(1) : undefined);
  const parts = call.node.outputs.length;
  const each = Math.ceil(x.shape[axis] / parts);
  const even = Array.from({ length: parts }, (_, k) => Math.min(each, x.shape[axis] - k * each));
  const list = sizes ?? even;
  let start = 0;
  return list.map((length) => {
    const part = x.narrow({ axis, start, length });
    start += length;
    return part;
  });
}

function blocks(call: Call, toSpace: boolean): Tensor {
  const x = call.t(0);
  const b = call.integer("blocksize", 1);
  if (!toSpace) {
    const [n, c, h, w] = x.shape;
    return x.reshape({ shape: [n, c, h / b, b, w / b, b] }).transpose({ axes: [0, 3, 5, 1, 2, 4] })
      .reshape({ shape: [n, c * b * b, h / b, w / b] });
  }
  if (call.attribute("mode", "DCR") === "CRD") return vg.pixelShuffle(x, { factor: b });
  const [n, c, h, w] = x.shape;
  return x.reshape({ shape: [n, b, b, c / b / b, h, w] }).transpose({ axes: [0, 3, 4, 1, 5, 2] })
    .reshape({ shape: [n, c / b / b, h * b, w * b] });
}

function oneHot(call: Call): Tensor {
  const indices = call.t(0);
  const depth = call.number(1);
  const values = call.t(2);
  const axis = positive(call.integer("axis", -1), indices.rank + 1);
  const whole = wrapped(indices.cast("i32"), depth);
  const hot = vg.oneHot(whole, { classes: depth, dtype: "bool" });
  const [off, on] = [0, 1].map((index) => values.select({ index }));
  return where(hot.moveAxis({ source: -1, destination: axis }), on, off);
}

export const shapes: Readonly<Record<string, OnnxOperator>> = {
  Constant: (call) => {
    const value = call.node.attributes.get("value") as OnnxTensor | undefined;
    if (value) return fromFile(value);
    const [f, i] = [call.node.attributes.get("value_float"), call.node.attributes.get("value_int")];
    if (f !== undefined) return known([], [f as number], 1);
    if (i !== undefined) return known([], [i as number]);
    if (call.list("value_floats")) return vector(call.list("value_floats")!, 1);
    if (call.list("value_ints")) return vector(call.list("value_ints")!);
    return lacks("a constant of strings or a sparse one");
  },
  ConstantOfShape: (call) => {
    const value = call.node.attributes.get("value") as OnnxTensor | undefined;
    const shape = call.numbers(0);
    const [number, type] = value ? [value.data[0], value.type] : [0, 1];
    if (product(shape) <= 1024) return new Known(shape, new Array(product(shape)).fill(number), type);
    return vg.full(shape, number, { dtype: dtypeOf(type) });
  },
  Shape: (call) => {
    const shape = shapeOf(call.single(0));
    const [start, end] = [call.integer("start", 0), call.integer("end", shape.length)];
    return vector(shape.slice(start, end));
  },
  Size: (call) => known([], [product(shapeOf(call.single(0)))]),
  Reshape: reshape,
  Flatten: (call) => {
    const x = call.single(0);
    const axis = positive(call.integer("axis", 1), shapeOf(x).length);
    return reshaped(x, [product(shapeOf(x).slice(0, axis)), product(shapeOf(x).slice(axis))]);
  },
  Squeeze: (call) => {
    const x = call.single(0);
    const shape = shapeOf(x);
    const axes = axesOf(call, 1)?.map((axis) => positive(axis, shape.length));
    return reshaped(x, shape.filter((n, k) => (axes ? !axes.includes(k) : n !== 1)));
  },
  Unsqueeze: (call) => {
    const x = call.single(0);
    const given = axesOf(call, 1)!;
    const rank = shapeOf(x).length + given.length;
    const axes = given.map((axis) => positive(axis, rank));
    const rest = [...shapeOf(x)];
    return reshaped(x, Array.from({ length: rank }, (_, k) => (axes.includes(k) ? 1 : rest.shift()!)));
  },
  Transpose: (call) => {
    const [x, axes] = [call.single(0), call.list("perm")];
    if (isShape(x)) {
      const order = axes ?? x.shape.map((_, k) => x.shape.length - 1 - k);
      return rearranged(
        x,
        order.map((axis) => x.shape[axis]),
        (at) => x.shape.map((_, axis) => at[order.indexOf(axis)]),
      );
    }
    return toTensor(x).transpose(axes ? { axes } : {});
  },
  Concat: (call) => {
    const axis = call.integer("axis", 0);
    const list = call.inputs;
    if (list.every((x) => x instanceof Known && x.shape.length === 1)) {
      return vector((list as Known[]).flatMap((x) => x.list), (list[0] as Known).type);
    }
    return vg.concat(list.map((_, k) => call.t(k)), { axis });
  },
  Split: (call) => outputs(...split(call)),
  Slice: sliced,
  Gather: gather,
  GatherElements: (call) => {
    const x = call.t(0);
    const axis = positive(call.integer("axis", 0), x.rank);
    return x.takeAlongAxis(wrapped(call.t(1).cast("i32"), x.shape[axis]), { axis });
  },
  GatherND: gatherNd,
  ScatterElements: scatterElements,
  Scatter: scatterElements,
  ScatterND: scatterNd,
  Expand: (call) => {
    const [x, shape] = [call.t(0), call.numbers(1)];
    const rank = Math.max(x.rank, shape.length);
    const from = (list: readonly number[]) => [...new Array(rank - list.length).fill(1), ...list];
    const [own, wanted] = [from(x.shape), from(shape)];
    return x.broadcastTo({ shape: own.map((n, k) => (wanted[k] === 1 ? n : wanted[k])) });
  },
  Tile: (call) => call.t(0).tile({ reps: call.numbers(1) }),
  Pad: pad,
  DepthToSpace: (call) => blocks(call, true),
  SpaceToDepth: (call) => blocks(call, false),
  OneHot: oneHot,
  Range: (call) => {
    const [start, limit, delta] = [call.number(0), call.number(1), call.number(2)];
    const count = Math.max(0, Math.ceil((limit - start) / delta));
    return vector(Array.from({ length: count }, (_, k) => start + k * delta), typeOf(call.single(0)));
  },
  EyeLike: (call) => {
    const x = call.single(0);
    const [n, m] = shapeOf(x);
    const k = call.integer("k", 0);
    const type = call.integer("dtype", typeOf(x));
    const data = Array.from({ length: n * m }, (_, i) => Number((i % m) - Math.floor(i / m) === k));
    return new Known([n, m], data, type);
  },
  Trilu: (call) => {
    const k = call.has(1) ? call.number(1) : 0;
    const x = call.t(0);
    return call.integer("upper", 1) ? x.triu({ diagonal: k }) : x.tril({ diagonal: k });
  },
  Compress: (call) => {
    const axis = call.node.attributes.get("axis") as number | undefined;
    const chosen = toNumbers(call.inputs[1], "the condition of Compress").flatMap((v, k) => (v !== 0 ? [k] : []));
    const x = axis === undefined ? call.t(0).flatten() : call.t(0);
    return x.take(vg.tensor(chosen, { dtype: "i32", shape: [chosen.length] }), { axis: positive(axis ?? 0, x.rank) });
  },
  ReverseSequence: (call) => {
    const x = call.t(0);
    const lengths = call.numbers(1);
    const [batch, time] = [call.integer("batch_axis", 1), call.integer("time_axis", 0)];
    const n = x.shape[time];
    const indices = Int32Array.from({ length: lengths.length * n }, (_, i) => {
      const [b, t] = [Math.floor(i / n), i % n];
      return t < lengths[b] ? lengths[b] - 1 - t : t;
    });
    const own = vg.tensor(indices, { shape: [lengths.length, n] });
    const placed = batch < time ? own : own.transpose();
    const shape = x.shape.map((m, k) => (k === batch || k === time ? m : 1));
    return x.takeAlongAxis(placed.reshape({ shape }).broadcastTo({ shape: x.shape }), { axis: time });
  },
};
