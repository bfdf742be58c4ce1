/** Operators of single elements. */
import * as vg from "../../../engine/mod.ts";
import { type Tensor, where } from "../../../engine/mod.ts";
import { type Call, type OnnxOperator, outputs } from "../file/run_graph.ts";
import { dtypeOf, isFloatType, Known, lacks, type Single, toTensor, typeOf } from "../file/values.ts";

type Unary = (x: Tensor, call: Call) => Tensor;
const float = (x: Tensor): boolean => x.dtype === "f32";
/** Keeps what JavaScript knows of small arrays, as shapes need. */
const onHost = (f: (a: number, b: number) => number, type?: number) => (call: Call): Known | null => {
  const inputs = call.inputs;
  // Numbers of the user's are for the device.
  if (!inputs.every((x) => x instanceof Known && !isFloatType(x.type))) return null;
  const [a, b] = inputs as Known[];
  const other = b ?? a;
  const shape = a.data.length >= other.data.length && a.shape.length >= other.shape.length ? a.shape : other.shape;
  const n = shape.reduce((x, y) => x * y, 1);
  if (n !== a.data.length && a.data.length !== 1) return null;
  if (n !== other.data.length && other.data.length !== 1) return null;
  const at = (x: Known, k: number): number => x.data[x.data.length === 1 ? 0 : k];
  return new Known(shape, Array.from({ length: n }, (_, k) => f(at(a, k), at(other, k))), type ?? a.type);
};
const unary = (f: Unary): OnnxOperator => (call) => f(call.t(0), call);
const folded = (host: (call: Call) => Known | null, f: OnnxOperator): OnnxOperator => (call) => host(call) ?? f(call);
const binary = (f: (a: Tensor, b: Tensor) => Tensor): OnnxOperator => (call) => f(call.t(0), call.t(1));
const compare = (host: (a: number, b: number) => boolean, f: (a: Tensor, b: Tensor) => Tensor): OnnxOperator =>
  folded(onHost((a, b) => Number(host(a, b)), 9), binary(f));
const fold = (f: (a: Tensor, b: Tensor) => Tensor, host?: (a: number, b: number) => number): OnnxOperator => (call) => {
  const done = host && call.inputs.length === 2 ? onHost(host)(call) : null;
  return done ?? call.inputs.map((_, k) => call.t(k)).reduce(f);
};

/** Division of integers towards zero: of what is left without the remainder, which f32 rounds to the right integer. */
const quotient = (a: Tensor, b: Tensor): Tensor => {
  if (float(a)) return a.div(b);
  const rest = a.abs().mod(b.abs());
  const whole = where(a.less(0), a.add(rest), a.sub(rest));
  return whole.div(b).round().cast(a.dtype);
};

const alpha = (call: Call, otherwise: number): number => call.attribute<number>("alpha", otherwise);
const lambd = (call: Call): [number, number] => [call.attribute("lambd", 0.5), call.attribute("bias", 0)];

function cast(x: Single, type: number): Single {
  const from = typeOf(x);
  if (type === 8 || type > 13) lacks(type === 8 ? "strings" : `values of type ${type}`);
  if (x instanceof Known) {
    const whole = !isFloatType(type);
    return new Known(x.shape, x.list.map((v) => (type === 9 ? Number(v !== 0) : whole ? Math.trunc(v) : v)), type);
  }
  const y = toTensor(x).cast(dtypeOf(type));
  // Integers of 8 and 16 bits wrap around.
  if (type === 2 || type === 3) return wrap(y, 8, type === 3);
  if (type === 4 || type === 5) return wrap(y, 16, type === 5);
  return from === type ? x : y;
}
const wrap = (x: Tensor, bits: number, signed: boolean): Tensor => {
  const y = x.mod(2 ** bits);
  return signed ? where(y.greaterEqual(2 ** (bits - 1)), y.sub(2 ** bits), y) : y;
};

/** Before version 7 a vector of slopes lies along the channels. */
function prelu(call: Call): Tensor {
  const [x, slope] = [call.t(0), call.t(1)];
  const old = call.opset < 7 && slope.rank === 1 && slope.size > 1;
  const own = old ? slope.reshape({ shape: x.shape.slice(1).map((_, k) => (k === 0 ? slope.size : 1)) }) : slope;
  return where(x.less(0), x.mul(own), x);
}

function clip(call: Call): Tensor {
  const x = call.t(0);
  const bound = (k: number, name: string): Tensor | number | undefined =>
    call.opset < 11 ? call.attribute<number | undefined>(name, undefined) : call.has(k) ? call.t(k) : undefined;
  let y = x;
  const [low, high] = [bound(1, "min"), bound(2, "max")];
  if (low !== undefined) y = vg.maximum(y, low);
  if (high !== undefined) y = vg.minimum(y, high);
  return y;
}

export const elementwise: Readonly<Record<string, OnnxOperator>> = {
  Identity: ({ inputs }) => inputs[0]!,
  Abs: unary((x) => x.abs()),
  Neg: folded(onHost((a) => -a), unary((x) => x.neg())),
  Exp: unary((x) => x.exp()),
  Log: unary((x) => x.log()),
  Sqrt: unary((x) => x.sqrt()),
  Reciprocal: unary((x) => x.reciprocal()),
  Floor: folded(onHost(Math.floor), unary((x) => x.floor())),
  Ceil: folded(onHost(Math.ceil), unary((x) => x.ceil())),
  Round: unary((x) => x.round()),
  Sign: unary((x) => x.sign()),
  Sin: unary((x) => x.sin()),
  Cos: unary((x) => x.cos()),
  Tan: unary((x) => x.tan()),
  Asin: unary((x) => x.asin()),
  Acos: unary((x) => x.acos()),
  Atan: unary((x) => x.atan()),
  Sinh: unary((x) => x.sinh()),
  Cosh: unary((x) => x.cosh()),
  Tanh: unary((x) => x.tanh()),
  Asinh: unary((x) => x.asinh()),
  Acosh: unary((x) => x.acosh()),
  Atanh: unary((x) => x.atanh()),
  Erf: unary((x) => x.erf()),
  Sigmoid: unary((x) => x.sigmoid()),
  Relu: unary((x) => x.relu()),
  Softplus: unary((x) => x.softplus()),
  Softsign: unary((x) => x.div(x.abs().add(1))),
  Elu: unary((x, call) => x.elu({ alpha: alpha(call, 1) })),
  Celu: unary((x, call) => vg.maximum(x, 0).add(vg.minimum(x.div(alpha(call, 1)).expm1().mul(alpha(call, 1)), 0))),
  Selu: unary((x, call) => {
    const [a, gamma] = [alpha(call, 1.67326319217681884765625), call.attribute("gamma", 1.05070102214813232421875)];
    return x.elu({ alpha: a }).mul(gamma);
  }),
  LeakyRelu: unary((x, call) => x.leakyRelu({ slope: alpha(call, 0.01) })),
  PRelu: prelu,
  HardSigmoid: unary((x, call) => x.mul(alpha(call, 0.2)).add(call.attribute("beta", 0.5)).clamp({ min: 0, max: 1 })),
  HardSwish: unary((x) => x.hardSwish()),
  ThresholdedRelu: unary((x, call) => where(x.greater(alpha(call, 1)), x, 0)),
  Shrink: unary((x, call) => {
    const [bound, bias] = lambd(call);
    return where(x.less(-bound), x.add(bias), where(x.greater(bound), x.sub(bias), x.mul(0)));
  }),
  Clip: clip,
  Not: folded(onHost((a) => Number(a === 0)), unary((x) => x.logicalNot())),
  IsNaN: unary((x) => x.isNaN()),
  IsInf: unary((x, call) => {
    const infinite = x.isFinite().logicalNot().logicalAnd(x.isNaN().logicalNot());
    const [up, down] = [call.integer("detect_positive", 1), call.integer("detect_negative", 1)];
    const side = up && down ? null : up ? x.greater(0) : down ? x.less(0) : x.notEqual(x);
    return side ? infinite.logicalAnd(side) : infinite;
  }),
  Cast: (call) => cast(call.single(0), call.integer("to", 1)),
  CastLike: (call) => cast(call.single(0), typeOf(call.single(1))),
  Dropout: (call) => {
    const training = call.has(2) && call.number(2) !== 0;
    if (training && !(call.has(1) && call.number(1) === 0)) lacks("dropout in training, which is random");
    const x = call.t(0);
    return outputs(x, vg.ones(x.shape, { dtype: "bool" }));
  },
  Add: folded(onHost((a, b) => a + b), binary((a, b) => a.add(b))),
  Sub: folded(onHost((a, b) => a - b), binary((a, b) => a.sub(b))),
  Mul: folded(onHost((a, b) => a * b), binary((a, b) => a.mul(b))),
  Div: (call) => {
    const whole = call.inputs.every((x) => x instanceof Known && !isFloatType(x.type));
    return (whole ? onHost((a, b) => Math.trunc(a / b))(call) : null) ?? quotient(call.t(0), call.t(1));
  },
  Pow: (call) => {
    const [a, b] = [call.t(0), call.t(1)];
    const y = vg.pow(a.cast("f32"), b.cast("f32"));
    return float(a) ? y : y.round().cast(a.dtype);
  },
  Mod: (call) => {
    const [a, b] = [call.t(0), call.t(1)];
    if (!call.integer("fmod", 0)) return a.mod(b);
    const r = a.abs().mod(b.abs());
    return where(a.less(0), r.neg(), r);
  },
  And: compare((a, b) => a !== 0 && b !== 0, (a, b) => a.logicalAnd(b)),
  Or: compare((a, b) => a !== 0 || b !== 0, (a, b) => a.logicalOr(b)),
  Xor: compare((a, b) => (a !== 0) !== (b !== 0), (a, b) => a.logicalXor(b)),
  Equal: compare((a, b) => a === b, (a, b) => a.equal(b)),
  Greater: compare((a, b) => a > b, (a, b) => a.greater(b)),
  GreaterOrEqual: compare((a, b) => a >= b, (a, b) => a.greaterEqual(b)),
  Less: compare((a, b) => a < b, (a, b) => a.less(b)),
  LessOrEqual: compare((a, b) => a <= b, (a, b) => a.lessEqual(b)),
  BitShift: (call) => {
    const [a, b] = [call.t(0), call.t(1)];
    const type = typeOf(call.single(0));
    const y = call.attribute("direction", "") === "LEFT" ? a.leftShift(b) : a.rightShift(b);
    return type === 2 ? y.bitwiseAnd(255) : type === 4 ? y.bitwiseAnd(65535) : y;
  },
  Min: fold((a, b) => vg.minimum(a, b), Math.min),
  Max: fold((a, b) => vg.maximum(a, b), Math.max),
  Sum: fold((a, b) => a.add(b)),
  Mean: (call) => call.inputs.map((_, k) => call.t(k)).reduce((a, b) => a.add(b)).div(call.inputs.length),
  Where: (call) => where(call.t(0), call.t(1), call.t(2)),
  QuantizeLinear: (call) => quantize(call, call.t(0), call.t(1), call.has(2) ? call.t(2) : null),
  DequantizeLinear: (call) => {
    const [x, scale] = [call.t(0), call.t(1)];
    const along = (v: Tensor): Tensor => alongAxis(v, x.rank, call.integer("axis", 1));
    const shifted = call.has(2) ? x.cast("f32").sub(along(call.t(2)).cast("f32")) : x.cast("f32");
    return shifted.mul(along(scale));
  },
};

const alongAxis = (v: Tensor, rank: number, axis: number): Tensor =>
  v.size === 1
    ? v.reshape({ shape: [] })
    : v.reshape({ shape: Array.from({ length: rank }, (_, k) => (k === (axis + rank) % rank ? v.size : 1)) });

function quantize(call: Call, x: Tensor, scale: Tensor, zero: Tensor | null): Tensor {
  const type = call.has(2) ? typeOf(call.single(2)) : 2;
  const axis = call.integer("axis", 1);
  const scaled = x.div(alongAxis(scale, x.rank, axis)).round();
  const shifted = zero ? scaled.add(alongAxis(zero, x.rank, axis).cast("f32")) : scaled;
  const [min, max] = type === 3 ? [-128, 127] : [0, 255];
  return shifted.clamp({ min, max }).cast("i32");
}
