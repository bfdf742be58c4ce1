/** Reductions, orders, and losses. */
import * as vg from "../../../engine/mod.ts";
import { type Tensor, where } from "../../../engine/mod.ts";
import { type Call, type OnnxOperator, outputs } from "../file/run_graph.ts";
import { Known, known, lacks, toNumbers } from "../file/values.ts";

const positive = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);
type Over = { axes?: readonly number[]; keepDims: boolean };

const reduce =
  (f: (x: Tensor, over: Over) => Tensor, host?: (data: readonly number[]) => number): OnnxOperator => (call) => {
    const axes = call.list("axes") ?? (call.has(1) ? call.numbers(1) : undefined);
    const keepDims = call.integer("keepdims", 1) === 1;
    const x = call.inputs[0];
    if (host && x instanceof Known && (!axes || x.shape.length <= 1)) {
      return known(keepDims ? x.shape.map(() => 1) : [], [host(x.list)], x.type);
    }
    const none = axes === undefined || axes.length === 0;
    if (none && call.integer("noop_with_empty_axes", 0)) return call.t(0);
    return f(call.t(0), none ? { keepDims } : { axes, keepDims });
  };
const inKind = (x: Tensor, y: Tensor): Tensor => (x.dtype === "f32" ? y : y.round().cast(x.dtype));

const extremum = (largest: boolean): OnnxOperator => (call) => {
  const x = call.t(0);
  const axis = positive(call.integer("axis", 0), x.rank);
  const keepDims = call.integer("keepdims", 1) === 1;
  const find = (t: Tensor): Tensor => (largest ? t.argmax({ axis, keepDims }) : t.argmin({ axis, keepDims }));
  if (!call.integer("select_last_index", 0)) return find(x);
  return find(x.flip({ axes: [axis] })).mul(-1).add(x.shape[axis] - 1);
};

/** Softmax over the axes from `axis` on together before version 13, over one axis since. */
const soft = (f: (x: Tensor, options: { axis: number }) => Tensor): OnnxOperator => (call) => {
  const x = call.t(0);
  const axis = positive(call.integer("axis", call.opset < 13 ? 1 : -1), x.rank);
  if (call.opset >= 13) return f(x, { axis });
  const lead = x.shape.slice(0, axis).reduce((a, b) => a * b, 1);
  return f(x.reshape({ shape: [lead, x.size / lead] }), { axis: 1 }).reshape({ shape: x.shape });
};

/** Hot where the first of the largest values is. */
function hardmax(x: Tensor, { axis }: { axis: number }): Tensor {
  const hot = vg.oneHot(x.argmax({ axis }), { classes: x.shape[axis] });
  return hot.moveAxis({ source: -1, destination: axis });
}

function nllLoss(call: Call, logProbabilities: Tensor): Tensor {
  const ignoreIndex = call.node.attributes.get("ignore_index") as number | undefined;
  const options = {
    axis: 1,
    ...(call.has(2) && { weight: call.t(2) }),
    ...(ignoreIndex !== undefined && { ignoreIndex }),
    reduction: call.attribute("reduction", "mean") as "mean",
  };
  return vg.nll(logProbabilities, call.t(1).cast("i32"), options);
}

export const reductions: Readonly<Record<string, OnnxOperator>> = {
  ReduceSum: reduce((x, over) => x.sum(over), (data) => data.reduce((a, b) => a + b, 0)),
  ReduceMean: reduce((x, over) => inKind(x, x.mean(over))),
  ReduceMax: reduce((x, over) => x.max(over)),
  ReduceMin: reduce((x, over) => x.min(over)),
  ReduceProd: reduce((x, over) => x.prod(over), (data) => data.reduce((a, b) => a * b, 1)),
  ReduceL1: reduce((x, over) => x.norm({ ...over, ord: 1 })),
  ReduceL2: reduce((x, over) => x.norm(over)),
  ReduceLogSum: reduce((x, over) => x.sum(over).log()),
  ReduceLogSumExp: reduce((x, over) => x.logSumExp(over)),
  ReduceSumSquare: reduce((x, over) => x.square().sum(over)),
  ArgMax: extremum(true),
  ArgMin: extremum(false),
  CumSum: (call) => {
    const x = call.t(0);
    const axis = positive(call.number(1), x.rank);
    const reverse = call.integer("reverse", 0) === 1;
    const y = x.cumsum({ axis, reverse });
    return call.integer("exclusive", 0) ? y.sub(x) : y;
  },
  TopK: (call) => {
    const k = call.opset < 10 ? call.integer("k", 1) : call.number(1);
    const axis = call.integer("axis", -1);
    return outputs(...call.t(0).topK({ k, axis, largest: call.integer("largest", 1) === 1 }));
  },
  Softmax: soft((x, o) => x.softmax(o)),
  LogSoftmax: soft((x, o) => x.logSoftmax(o)),
  Hardmax: soft(hardmax),
  Einsum: (call) =>
    vg.einsum(call.attribute("equation", "").replaceAll(" ", ""), ...call.inputs.map((_, k) => call.t(k))),
  NegativeLogLikelihoodLoss: (call) => nllLoss(call, call.t(0)),
  SoftmaxCrossEntropyLoss: (call) => {
    const logProbabilities = call.t(0).logSoftmax({ axis: 1 });
    return outputs(nllLoss(call, logProbabilities), logProbabilities);
  },
  NonZero: (call) => {
    const x = call.inputs[0];
    const data = toNumbers(x, "the input of NonZero");
    const shape = (x as Known).shape;
    const found = data.flatMap((v, i) => (v !== 0 ? [i] : []));
    const strides = shape.map((_, k) => shape.slice(k + 1).reduce((a, b) => a * b, 1));
    const rows = shape.flatMap((n, k) => found.map((i) => Math.floor(i / strides[k]) % n));
    return known([shape.length, found.length], rows);
  },
  MeanVarianceNormalization: (call) => {
    const x = call.t(0);
    const axes = call.list("axes") ?? [0, 2, 3];
    const deviation = x.sub(x.mean({ axes, keepDims: true }));
    return deviation.div(deviation.square().mean({ axes, keepDims: true }).sqrt().add(1e-9));
  },
  DynamicQuantizeLinear: (call) => {
    const x = call.t(0);
    const [low, high] = [vg.minimum(x.min(), 0), vg.maximum(x.max(), 0)];
    const scale = high.sub(low).div(255);
    const zero = low.neg().div(scale).round().clamp({ min: 0, max: 255 });
    return outputs(x.div(scale).round().add(zero).clamp({ min: 0, max: 255 }).cast("i32"), scale, zero.cast("i32"));
  },
  "ai.onnx.preview.training.Momentum": (call) => {
    const [rate, step] = [call.t(0), call.t(1)];
    const [alpha, beta] = [call.attribute("alpha", 0), call.attribute("beta", 0)];
    const decay = call.attribute("norm_coefficient", 0);
    const nesterov = call.attribute("mode", "standard") === "nesterov";
    const n = (call.inputs.length - 2) / 3;
    const adjusted = where(step.greater(0), beta, 1);
    const rows = Array.from({ length: n }, (_, k) => {
      const [x, gradient, velocity] = [2 + k, 2 + n + k, 2 + 2 * n + k].map((i) => call.t(i));
      const g = x.mul(decay).add(gradient);
      const v = velocity.mul(alpha).add(g.mul(adjusted));
      return [x.sub((nesterov ? g.add(v.mul(alpha)) : v).mul(rate)), v];
    });
    return outputs(...rows.map((row) => row[0]), ...rows.map((row) => row[1]));
  },
  "ai.onnx.preview.training.Adagrad": (call) => {
    const [rate, step] = [call.t(0), call.t(1).cast("f32")];
    const [decay, eps] = [call.attribute("decay_factor", 0), call.attribute("epsilon", 1e-6)];
    const norm = call.attribute("norm_coefficient", 0);
    const n = (call.inputs.length - 2) / 3;
    const own = rate.div(step.mul(decay).add(1));
    const rows = Array.from({ length: n }, (_, k) => {
      const [x, gradient, sum] = [2 + k, 2 + n + k, 2 + 2 * n + k].map((i) => call.t(i));
      const g = x.mul(norm).add(gradient);
      const next = sum.add(g.square());
      return [x.sub(g.mul(own).div(next.sqrt().add(eps))), next];
    });
    return outputs(...rows.map((row) => row[0]), ...rows.map((row) => row[1]));
  },
  "ai.onnx.preview.training.Adam": (call) => {
    const [rate, step] = [call.t(0), call.t(1).cast("f32")];
    const [alpha, beta] = [call.attribute("alpha", 0.9), call.attribute("beta", 0.999)];
    const [eps, norm] = [call.attribute("epsilon", 1e-6), call.attribute("norm_coefficient", 0)];
    const after = call.attribute("norm_coefficient_post", 0);
    const n = (call.inputs.length - 2) / 4;
    const corrected = rate.mul(vg.pow(beta, step).neg().add(1).sqrt()).div(vg.pow(alpha, step).neg().add(1));
    const own = where(step.greater(0), corrected, rate);
    const rows = Array.from({ length: n }, (_, k) => {
      const [x, gradient, mean, square] = [0, 1, 2, 3].map((i) => call.t(2 + i * n + k));
      const g = x.mul(norm).add(gradient);
      const m = mean.mul(alpha).add(g.mul(1 - alpha));
      const v = square.mul(beta).add(g.square().mul(1 - beta));
      return [x.sub(own.mul(m).div(v.sqrt().add(eps))).mul(1 - after), m, v];
    });
    return outputs(...[0, 1, 2].flatMap((j) => rows.map((row) => row[j])));
  },
  Unique: () => lacks("Unique, whose shape depends on data"),
};
