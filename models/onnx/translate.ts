/** Operators of voxgrad as nodes of ONNX, opset 17. */
import { type TracedValue, VoxgradError } from "../../engine/mod.ts";
import { typeOfDType, type WrittenAttribute } from "./file/write_model.ts";

/** Adds nodes to a graph. */
export interface Builder {
  /** Adds a node and gives the name of its result; the last one of a value is named by the caller. */
  node(type: string, inputs: readonly string[], attributes?: Readonly<Record<string, WrittenAttribute>>): string;
  /** An initializer of 64-bit integers, such as a shape. */
  integers(values: readonly number[]): string;
  /** An initializer of a float or an integer, as a scalar. */
  scalar(value: number, dtype?: "f32" | "i32" | "u32" | "bool"): string;
}

/** What is f16 here is f32 in the file. */
const scalarType = ({ dtype }: TracedValue): "f32" | "i32" | "u32" | "bool" => (dtype === "f16" ? "f32" : dtype);

type Sizes = readonly number[];
interface ConvAttributes {
  readonly groups: number;
  readonly input: Sizes;
  readonly output: Sizes;
  readonly kernel: Sizes;
  readonly stride: Sizes;
  readonly padding: Sizes;
  readonly dilation: Sizes;
}
export type Translate = (b: Builder, value: TracedValue, inputs: readonly string[]) => string;

export const refuse = (what: string): never => {
  throw new VoxgradError(`exportOnnx: the function uses ${what}, which has no translation to ONNX; leave it out`);
};

const unary = (type: string): Translate => (b, _, inputs) => b.node(type, inputs);
const same: Translate = (_, __, [x]) => x;
/** Of an attribute of the operator. */
const of = <T>({ attributes }: TracedValue, name: string): T => attributes[name] as T;

const conv: Translate = (b, { attributes }, inputs) => {
  const { groups, input, output, kernel, stride, padding, dilation } = attributes as unknown as ConvAttributes;
  const after = output.map((n, k) =>
    Math.max(0, (n - 1) * stride[k] + dilation[k] * (kernel[k] - 1) + 1 - input[k] - padding[k])
  );
  const pads = [...padding, ...after];
  return b.node("Conv", inputs, { kernel_shape: kernel, strides: stride, dilations: dilation, pads, group: groups });
};

/** The input gradient of a convolution from `input` to `output`. */
const transposedConv: Translate = (b, { attributes }, inputs) => {
  const { groups, input, output, kernel, stride, padding, dilation } = attributes as unknown as ConvAttributes;
  const over = output.map((n, k) => (n - 1) * stride[k] + dilation[k] * (kernel[k] - 1) + 1 - padding[k] - input[k]);
  const pads = [...padding, ...over.map((n) => Math.max(0, n))];
  const missing = over.map((n) => Math.max(0, -n));
  return b.node("ConvTranspose", inputs, {
    kernel_shape: kernel,
    strides: stride,
    dilations: dilation,
    pads,
    group: groups,
    ...(missing.some((n) => n > 0) && { output_padding: missing }),
  });
};

/** Instance norm, whose channels are the groups where there are fewer of them. */
const groupNorm: Translate = (b, value, [x, weight, bias]) => {
  const [groups, eps] = [of<number>(value, "groups"), of<number>(value, "eps")];
  const shape = value.shape;
  if (groups === shape[1] && shape.length > 2) {
    return b.node("InstanceNormalization", [x, weight, bias], { epsilon: { float: eps } });
  }
  const rows = b.node("Reshape", [x, b.integers([shape[0], groups, -1])]);
  const one = b.node("ConstantOfShape", [b.integers([groups])], { value: constant(1) });
  const zero = b.node("ConstantOfShape", [b.integers([groups])], { value: constant(0) });
  const normed = b.node("InstanceNormalization", [rows, one, zero], { epsilon: { float: eps } });
  const channels = b.integers([shape[1], ...shape.slice(2).map(() => 1)]);
  const scaled = b.node("Mul", [b.node("Reshape", [normed, b.integers(shape)]), b.node("Reshape", [weight, channels])]);
  return b.node("Add", [scaled, b.node("Reshape", [bias, channels])]);
};
const constant = (value: number): WrittenAttribute => ({
  name: "",
  shape: [1],
  type: 1,
  bytes: new Uint8Array(Float32Array.of(value).buffer),
});

const slice: Translate = (b, value, [x]) => {
  const [start, step] = [of<Sizes>(value, "start"), of<Sizes>(value, "step")];
  const end = start.map((from, k) => from + (value.shape[k] - 1) * step[k] + 1);
  return b.node("Slice", [x, b.integers(start), b.integers(end), b.integers(start.map((_, k) => k)), b.integers(step)]);
};

const pad: Translate = (b, value, [x]) => {
  if (of<Sizes>(value, "interior").some((n) => n > 0)) refuse("padding between values");
  const pads = b.integers([...of<Sizes>(value, "before"), ...of<Sizes>(value, "after")]);
  return b.node("Pad", [x, pads, b.scalar(of<number>(value, "value"), scalarType(value))]);
};

const resize: Translate = (b, value, [x]) => {
  const mode = of<string>(value, "mode");
  if (of<boolean>(value, "transposed")) refuse("the adjoint of resize");
  const corners = of<boolean>(value, "alignCorners");
  return b.node("Resize", [x, "", "", b.integers(value.shape)], {
    mode,
    coordinate_transformation_mode: mode === "nearest" ? "asymmetric" : corners ? "align_corners" : "half_pixel",
    ...(mode === "nearest" && { nearest_mode: "floor" }),
  });
};

const matmul: Translate = (b, value, [x, y]) => {
  const turned = (name: string, wanted: string): string =>
    of<boolean>(value, wanted) ? b.node("Transpose", [name], { perm: [0, 2, 1] }) : name;
  return b.node("MatMul", [turned(x, "transposeA"), turned(y, "transposeB")]);
};

const reduce = (type: string, axesAsInput = false): Translate => (b, value, [x]) => {
  const axes = of<Sizes>(value, "axes");
  if (axesAsInput) return b.node(type, [x, b.integers(axes)], { keepdims: 0 });
  return b.node(type, [x], { axes, keepdims: 0 });
};

const reshape: Translate = (b, { shape }, [x]) => b.node("Reshape", [x, b.integers(shape)]);
const reciprocalOf = (type: string): Translate => (b, _, inputs) => b.node("Reciprocal", [b.node(type, inputs)]);

export const translations: Readonly<Record<string, Translate>> = {
  abs: unary("Abs"),
  add: unary("Add"),
  alias: same,
  broadcastTo: (b, { shape }, [x]) => b.node("Expand", [x, b.integers(shape)]),
  cast: (b, { dtype }, [x]) => b.node("Cast", [x], { to: typeOfDType(dtype) }),
  ceil: unary("Ceil"),
  clamp: (b, value, [x]) => {
    const bound = (name: string): string => {
      const limit = of<number | undefined>(value, name);
      return limit === undefined || !Number.isFinite(limit) ? "" : b.scalar(limit, scalarType(value));
    };
    return b.node("Clip", [x, bound("min"), bound("max")]);
  },
  concat: (b, value, inputs) => b.node("Concat", inputs, { axis: of<number>(value, "axis") }),
  conv,
  convInputGrad: transposedConv,
  cos: unary("Cos"),
  div: unary("Div"),
  equal: unary("Equal"),
  erf: unary("Erf"),
  exp: unary("Exp"),
  floor: unary("Floor"),
  full: (b, value) => {
    const scalar = b.scalar(of<number>(value, "value"), scalarType(value));
    return value.shape.length === 0 ? scalar : b.node("Expand", [scalar, b.integers(value.shape)]);
  },
  greater: unary("Greater"),
  greaterEqual: unary("GreaterOrEqual"),
  groupNorm,
  leakyRelu: (b, value, [x]) => b.node("LeakyRelu", [x], { alpha: { float: of<number>(value, "slope") } }),
  less: unary("Less"),
  lessEqual: unary("LessOrEqual"),
  log: unary("Log"),
  logSoftmax: (b, value, [x]) => b.node("LogSoftmax", [x], { axis: of<number>(value, "axis") }),
  logicalAnd: unary("And"),
  logicalNot: unary("Not"),
  logicalOr: unary("Or"),
  matmul,
  max: reduce("ReduceMax"),
  maximum: unary("Max"),
  min: reduce("ReduceMin"),
  minimum: unary("Min"),
  mul: unary("Mul"),
  neg: unary("Neg"),
  pad,
  pow: unary("Pow"),
  reciprocal: unary("Reciprocal"),
  recompute: same,
  region: same,
  relu: unary("Relu"),
  reshape,
  resize,
  round: unary("Round"),
  rsqrt: reciprocalOf("Sqrt"),
  sigmoid: unary("Sigmoid"),
  sign: unary("Sign"),
  sin: unary("Sin"),
  slice,
  softmax: (b, value, [x]) => b.node("Softmax", [x], { axis: of<number>(value, "axis") }),
  softplus: unary("Softplus"),
  sqrt: unary("Sqrt"),
  square: (b, _, [x]) => b.node("Mul", [x, x]),
  stopGradient: same,
  sub: unary("Sub"),
  sum: reduce("ReduceSum", true),
  tanh: unary("Tanh"),
  transpose: (b, value, [x]) => b.node("Transpose", [x], { perm: of<Sizes>(value, "axes") }),
  where: unary("Where"),
};

/** Whether an operator that is made of others is one of ONNX. */
export const isWhole = (operator: string): boolean => ["groupNorm", "softmax", "logSoftmax"].includes(operator);
