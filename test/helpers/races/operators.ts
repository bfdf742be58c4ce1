/** Operators and builtin functions of WGSL as JavaScript. */
import { as, constant, converted, formed, materialized, type Scalar, scalar, scalarOf, show } from "./types.ts";
import { type Type, unified, type Value, vector } from "./types.ts";

/** JavaScript functions that a translated kernel needs, by name. */
export type Helpers = Map<string, string>;

type Write = (...args: string[]) => string;

const COMPARISONS = ["==", "!=", "<", "<=", ">", ">="];

/** Rounds to what a type holds. */
const rounded = (of: Scalar, code: string): string =>
  of === "f32" ? `F(${code})` : of === "f16" ? `H(${code})` : of === "u32" ? `(${code} >>> 0)` : `(${code} | 0)`;

/** JavaScript of an operator on two scalars of one type. */
function scalarOperator(operator: string, of: Scalar, a: string, b: string): string {
  if (operator === "&&" || operator === "||") return `(${a} ${operator} ${b})`;
  if (COMPARISONS.includes(operator)) return `(${a} ${operator.replace(/^([=!]=)$/, "$1=")} ${b})`;
  if (of === "bool") return `!!(${a} ${operator} ${b})`;
  if (operator === ">>" && of === "u32") return `(${a} >>> ${b})`;
  if (of === "f32" || of === "f16" || "+-&|^<<>>".includes(operator)) return rounded(of, `${a} ${operator} ${b}`);
  if (operator === "*") return rounded(of, `Math.imul(${a}, ${b})`);
  return rounded(of, `R.${operator === "/" ? "quotient" : "remainder"}(${a}, ${b})`);
}

function folded(operator: string, a: number, b: number, of: "int" | "float"): Value {
  switch (operator) {
    case "+":
      return constant(a + b, of);
    case "-":
      return constant(a - b, of);
    case "*":
      return constant(a * b, of);
    case "/":
      return constant(of === "int" ? Math.trunc(a / b) : a / b, of);
    case "%":
      return constant(a % b, of);
    case "<<":
      return constant(a * 2 ** b, of);
    default:
      throw new Error(`WGSL: ${operator} of literals without a suffix`);
  }
}

/** A call of `write` by components: of all arguments that are vectors, with the same scalar for those that are not. */
function lifted(helpers: Helpers, name: string, args: readonly Value[], of: Scalar, write: Write): Value {
  const sizes = new Set(args.flatMap(({ type }) => (type.kind === "vector" ? [type.size] : [])));
  if (sizes.size === 0) return { code: write(...args.map(({ code }) => code)), type: scalar(of) };
  if (sizes.size > 1) throw new Error(`WGSL: ${name} of ${args.map(({ type }) => show(type)).join(" and ")}`);
  const [size] = sizes;
  const forms = args.map(({ type }) => (type.kind === "vector" ? "v" : "s"));
  const helper = `${name}_${args.map(({ type }) => scalarOf(type)).join("_")}_${forms.join("")}${size}`;
  const names = args.map((_, k) => `a${k}`);
  const component = (c: number): string => write(...names.map((a, k) => (forms[k] === "v" ? `${a}[${c}]` : a)));
  const parts = Array.from({ length: size }, (_, c) => component(c));
  helpers.set(helper, `const ${helper} = (${names.join(", ")}) => [${parts.join(", ")}];`);
  return { code: `${helper}(${args.map(({ code }) => code).join(", ")})`, type: vector(of, size) };
}

const WORDS: Record<string, string> = {
  "+": "add",
  "-": "subtract",
  "*": "multiply",
  "/": "divide",
  "%": "modulo",
  "&": "and",
  "|": "or",
  "^": "xor",
  "<<": "left",
  ">>": "right",
  "==": "equal",
  "!=": "unequal",
  "<": "less",
  "<=": "most",
  ">": "greater",
  ">=": "least",
};

export function binary(helpers: Helpers, operator: string, left: Value, right: Value): Value {
  const isShift = operator === "<<" || operator === ">>";
  if (left.constant !== undefined && right.constant !== undefined) {
    const of = scalarOf(unified([left, right])[0].type) as "int" | "float";
    return folded(operator, left.constant, right.constant, of);
  }
  const [a, b] = isShift ? [left, converted(right, "u32")] : unified([left, right]);
  const of = scalarOf(a.type);
  if (operator === "&&" || operator === "||") [a, b].forEach((v) => as(v, scalar("bool")));
  const result = COMPARISONS.includes(operator) ? "bool" : of;
  return lifted(helpers, WORDS[operator] ?? "both", [a, b], result, (x, y) => scalarOperator(operator, of, x, y));
}

export function unary(helpers: Helpers, operator: string, arg: Value): Value {
  if (arg.constant !== undefined && operator === "-") return constant(-arg.constant, scalarOf(arg.type) as "int");
  const of = scalarOf(arg.type);
  if (operator === "!") return lifted(helpers, "not", [arg], "bool", (x) => `!${x}`);
  if (operator === "~") return lifted(helpers, "complement", [arg], of, (x) => rounded(of, `~${x}`));
  return lifted(helpers, "negate", [arg], of, (x) => (of === "i32" ? `(-${x} | 0)` : `(-${x})`));
}

/** Functions of each component, of arguments of one type. */
const componentwise: Record<string, (of: Scalar) => Write> = {
  abs: (of) => (x) => (of === "u32" ? x : of === "i32" ? `(Math.abs(${x}) | 0)` : `Math.abs(${x})`),
  sign: () => (x) => `Math.sign(${x})`,
  floor: () => (x) => `Math.floor(${x})`,
  ceil: () => (x) => `Math.ceil(${x})`,
  trunc: () => (x) => `Math.trunc(${x})`,
  round: () => (x) => `R.round(${x})`,
  sqrt: (of) => (x) => rounded(of, `Math.sqrt(${x})`),
  inverseSqrt: (of) => (x) => rounded(of, `1 / Math.sqrt(${x})`),
  exp: (of) => (x) => rounded(of, `Math.exp(${x})`),
  exp2: (of) => (x) => rounded(of, `2 ** ${x}`),
  log: (of) => (x) => rounded(of, `Math.log(${x})`),
  log2: (of) => (x) => rounded(of, `Math.log2(${x})`),
  sin: (of) => (x) => rounded(of, `Math.sin(${x})`),
  cos: (of) => (x) => rounded(of, `Math.cos(${x})`),
  tanh: (of) => (x) => rounded(of, `Math.tanh(${x})`),
  pow: (of) => (x, y) => rounded(of, `${x} ** ${y}`),
  fma: (of) => (x, y, z) => rounded(of, `${x} * ${y} + ${z}`),
  // Of NaN and a number WGSL may give either.
  min: () => (x, y) => `R.min(${x}, ${y})`,
  max: () => (x, y) => `R.max(${x}, ${y})`,
  clamp: () => (x, low, high) => `R.min(R.max(${x}, ${low}), ${high})`,
  countTrailingZeros: () => (x) => `R.trailingZeros(${x})`,
  countOneBits: () => (x) => `R.ones(${x})`,
};

/** A call of a builtin function; null if there is none of that name. */
export function builtin(helpers: Helpers, name: string, args: readonly Value[]): Value | null {
  const count = (n: number): void => {
    if (args.length !== n) throw new Error(`WGSL: ${name} takes ${n} arguments, got ${args.length}`);
  };
  if (Object.hasOwn(componentwise, name)) {
    const same = unified(args).map(materialized);
    const of = scalarOf(same[0].type);
    return lifted(helpers, name, same, of, componentwise[name](of));
  }
  switch (name) {
    case "select": {
      count(3);
      const [no, yes] = unified([args[0], args[1]]).map(materialized);
      // Both are computed.
      const of = scalarOf(no.type);
      if (args[2].type.kind === "scalar") {
        return { code: `R.select(${no.code}, ${yes.code}, ${args[2].code})`, type: no.type };
      }
      return lifted(helpers, name, [no, yes, args[2]], of, (a, b, c) => `(${c} ? ${b} : ${a})`);
    }
    case "all":
      return { code: `${args[0].code}.every((x) => x)`, type: scalar("bool") };
    case "any":
      return { code: `${args[0].code}.some((x) => x)`, type: scalar("bool") };
    case "dot": {
      count(2);
      const products = binary(helpers, "*", args[0], args[1]);
      const of = scalarOf(products.type);
      return { code: `${products.code}.reduce((x, y) => ${rounded(of, "x + y")})`, type: scalar(of) };
    }
    default:
      return null;
  }
}

/** `u32(x)`, `vec4f(a, b)`, `vec4<bool>(c)`: a conversion or construction. */
export function constructed(helpers: Helpers, type: Type, args: readonly Value[], zero: string): Value {
  if (args.length === 0) return { code: zero, type };
  if (type.kind === "scalar") return cast(helpers, args[0], type.of);
  if (type.kind !== "vector") throw new Error(`WGSL: ${show(type)} cannot be made of values`);
  if (args.length === 1) {
    const [whole] = args;
    const given = cast(helpers, whole, type.of);
    if (whole.type.kind === "vector") return given;
    return { code: `new Array(${type.size}).fill(${given.code})`, type };
  }
  const parts = args.map((arg) => cast(helpers, arg, type.of));
  const total = parts.reduce((sum, part) => sum + (part.type.kind === "vector" ? part.type.size : 1), 0);
  if (total !== type.size) throw new Error(`WGSL: ${show(type)} of ${total} components`);
  const codes = parts.map(({ code, type }) => (type.kind === "vector" ? `...${code}` : code));
  return { code: `[${codes.join(", ")}]`, type };
}

/** A conversion by components. */
function cast(helpers: Helpers, value: Value, of: Scalar): Value {
  if (value.constant !== undefined) {
    const cut = of === "i32" || of === "u32" ? constant(Math.trunc(value.constant), "int") : value;
    return converted(cut, of);
  }
  const from = scalarOf(value.type);
  if (from === of) return { code: value.code, type: value.type };
  const write: Write = (x) => {
    if (of === "bool") return `(${x} !== 0)`;
    if (from === "bool") return `+${x}`;
    if (of === "f32" || of === "f16") return rounded(of, x);
    return from === "f32" || from === "f16" ? `R.to_${of}(${x})` : rounded(of, x);
  };
  return lifted(helpers, `cast_${of}`, [value], of, write);
}

/** The bits of a value as another type of 32 bits. */
export function bitcast(helpers: Helpers, type: Type, value: Value): Value {
  const of = scalarOf(type);
  const given = materialized(value);
  const from = scalarOf(given.type);
  if (from === of) return { code: given.code, type };
  const write: Write = (x) => {
    const bits = from === "f32" ? `R.bits(${x})` : x;
    return of === "f32" ? `R.float(${bits})` : rounded(of, bits);
  };
  const result = lifted(helpers, `bitcast_${of}`, [given], of, write);
  return { code: result.code, type: formed(given.type, of) };
}
