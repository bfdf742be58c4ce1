/**
 * Expression trees of fused kernels. Operators build them, the compiler analyzes them (what varies in a loop, what is
 * divided, which functions and buffers are used), and `print` turns them into WGSL once a kernel is final.
 */

/** Binary operators of WGSL that kernels use. */
export type InfixOperator = "+" | "-" | "*" | "/" | "%" | "&" | "|" | "^" | "<<" | ">>" | Comparison;
type Comparison = "==" | "!=" | "<" | "<=" | ">" | ">=";

export type Expr =
  /** A number or boolean; `text` is its WGSL. */
  | { readonly kind: "literal"; readonly text: string; readonly value: number }
  | { readonly kind: "variable"; readonly name: string }
  /** An element of a buffer. */
  | { readonly kind: "load"; readonly buffer: string; readonly index: Expr }
  /** A call; `library` marks a function of shaders/, otherwise it is a WGSL builtin. */
  | { readonly kind: "call"; readonly name: string; readonly args: readonly Expr[]; readonly library: boolean }
  | { readonly kind: "infix"; readonly operator: InfixOperator; readonly left: Expr; readonly right: Expr }
  | { readonly kind: "prefix"; readonly operator: "-" | "!" | "~"; readonly arg: Expr }
  /** A component of a vector. */
  | { readonly kind: "member"; readonly arg: Expr; readonly name: string };

/** A u32 literal. */
export const u32 = (value: number): Expr => ({ kind: "literal", text: `${value}u`, value });
export const variable = (name: string): Expr => ({ kind: "variable", name });
export const load = (buffer: string, index: Expr): Expr => ({ kind: "load", buffer, index });
/** A call of a builtin function or a conversion: `call("abs", x)`, `call("f32", x)`. */
export const call = (name: string, ...args: Expr[]): Expr => ({ kind: "call", name, args, library: false });
/** A call of a function of shaders/library.ts, which the kernel then includes: `fn("vg_exp", x)`. */
export const fn = (name: string, ...args: Expr[]): Expr => ({ kind: "call", name, args, library: true });
/** `infix(a, "+", b)`. */
export const infix = (left: Expr, operator: InfixOperator, right: Expr): Expr => ({
  kind: "infix",
  operator,
  left,
  right,
});
export const prefix = (operator: "-" | "!" | "~", arg: Expr): Expr => ({ kind: "prefix", operator, arg });
export const member = (arg: Expr, name: string): Expr => ({ kind: "member", arg, name });
/** WGSL's `select`: `yes` where the condition holds, else `no`. */
export const select = (no: Expr, yes: Expr, condition: Expr): Expr => call("select", no, yes, condition);

/** The bits of a float as u32. */
export const bitsOf = (x: Expr): Expr => call("bitcast<u32>", x);

export const isLiteral = (e: Expr): boolean => e.kind === "literal";
/** Whether an expression can be repeated without binding it to a name first. */
export const isAtom = (e: Expr): boolean => e.kind === "literal" || e.kind === "variable";
/** Whether an expression is the literal 0. */
export const isZero = (e: Expr): boolean => e.kind === "literal" && e.value === 0;

/** All expressions joined by an operator. */
export const joined = (operator: InfixOperator, terms: readonly Expr[]): Expr =>
  terms.reduce((a, b) => infix(a, operator, b));

const childrenOf = (e: Expr): readonly Expr[] => {
  switch (e.kind) {
    case "load":
      return [e.index];
    case "call":
      return e.args;
    case "infix":
      return [e.left, e.right];
    case "prefix":
    case "member":
      return [e.arg];
    default:
      return [];
  }
};

/** Calls `visit` on an expression and all its subexpressions. */
export function walk(e: Expr, visit: (e: Expr) => void): void {
  visit(e);
  for (const child of childrenOf(e)) walk(child, visit);
}

/** Whether `holds` is true of an expression or one of its subexpressions. */
export const some = (e: Expr, holds: (e: Expr) => boolean): boolean =>
  holds(e) || childrenOf(e).some((child) => some(child, holds));

/** The expression with its variables renamed. */
export function rename(e: Expr, nameOf: (name: string) => string): Expr {
  const of = (x: Expr): Expr => rename(x, nameOf);
  switch (e.kind) {
    case "literal":
      return e;
    case "variable":
      return variable(nameOf(e.name));
    case "load":
      return { ...e, index: of(e.index) };
    case "call":
      return { ...e, args: e.args.map(of) };
    case "infix":
      return { ...e, left: of(e.left), right: of(e.right) };
    case "prefix":
    case "member":
      return { ...e, arg: of(e.arg) };
  }
}

/** Operator precedence; operands of level 0 operators need parentheses unless they are atoms. */
const LEVELS: Record<InfixOperator, number> = {
  "&": 0,
  "|": 0,
  "^": 0,
  "<<": 0,
  ">>": 0,
  "==": 1,
  "!=": 1,
  "<": 1,
  "<=": 1,
  ">": 1,
  ">=": 1,
  "+": 2,
  "-": 2,
  "*": 3,
  "/": 3,
  "%": 3,
};

function operand(e: Expr, parent: InfixOperator, isRight: boolean): string {
  if (e.kind !== "infix") return print(e);
  const [own, outer] = [LEVELS[e.operator], LEVELS[parent]];
  const isChain = !isRight && e.operator === parent && (parent === "&" || parent === "|" || parent === "^");
  const isTighter = own > 0 && outer > 0 && (own > outer || (own === outer && own > 1 && !isRight));
  return isChain || isTighter ? print(e) : `(${print(e)})`;
}

/** The WGSL of an expression. Equal expressions print the same. */
export function print(e: Expr): string {
  switch (e.kind) {
    case "literal":
      return e.text;
    case "variable":
      return e.name;
    case "load":
      return `${e.buffer}[${print(e.index)}]`;
    case "call":
      return `${e.name}(${e.args.map(print).join(", ")})`;
    case "infix":
      return `${operand(e.left, e.operator, false)} ${e.operator} ${operand(e.right, e.operator, true)}`;
    case "prefix":
      return `${e.operator}${e.arg.kind === "infix" || e.arg.kind === "prefix" ? `(${print(e.arg)})` : print(e.arg)}`;
    case "member":
      return `${print(e.arg)}.${e.name}`;
  }
}
