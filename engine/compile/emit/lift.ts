/**
 * Numbers of fused kernels that differ from shape to shape, taken out of their statements, so that kernels of the same
 * structure share a pipeline. They become names of numbers that the kernel reads: see shaders/sizes.ts.
 */
import { call, type Expr, infix, u32, variable } from "../../core/expr.ts";
import type { Block, Statement } from "./statements.ts";

/** What the names of functions that load from chunks begin with. */
export const CHUNKS = "chunks";
/** Below, the quotient by way of f32 is exact: (n + 1/2) / d is at least 1 / 2d from an integer. */
const MOST_DIVIDED = 2 ** 21;
const SIMPLE = new Set([0, 0.25, 0.5, 1, 2, 3, 4]);

const isUnsigned = (e: Expr): e is Expr & { kind: "literal" } => e.kind === "literal" && e.text.endsWith("u");
const isFloat = (e: Expr): e is Expr & { kind: "literal" } =>
  e.kind === "literal" && (e.text.endsWith("f") || e.text.endsWith("f)"));
const isPower = (n: number): boolean => Number.isInteger(Math.log2(n));

export class Lifted {
  /** The numbers by name. */
  readonly unsigned: Record<string, number> = {};
  readonly floats: Record<string, number> = {};
  /** Names of which it is known that they are below a number. */
  readonly #bounds: Map<string, number>;
  readonly #prefix: string;
  readonly #names = new Map<string, string>();
  #once = false;

  constructor(bounds: Readonly<Record<string, number>>, prefix = "n") {
    this.#bounds = new Map(Object.entries(bounds));
    this.#prefix = prefix;
  }

  /**
   * Statements, in order, without their numbers. With `once` they run before a loop: a division that costs more is
   * then cheaper than a pipeline for powers of two.
   */
  statements(list: readonly Statement[], once = false): Statement[] {
    this.#once = once;
    return list.map((s): Statement => {
      if (s.kind === "let") {
        const bound = this.#boundOf(s.value);
        if (bound < Infinity) this.#bounds.set(s.name, bound);
        // A name of a number is one that an index consists of.
        return { ...s, value: this.#operand(folded(s.value), "=") };
      }
      if (s.kind === "store") return { ...s, index: this.value(s.index), value: this.value(s.value) };
      const block = ({ statements, value }: Block): Block => ({
        statements: this.statements(statements, this.#once),
        value: this.value(value),
      });
      return { ...s, condition: this.value(s.condition), blocks: [block(s.blocks[0]), block(s.blocks[1])] };
    });
  }

  /** An expression without its numbers. */
  value(e: Expr): Expr {
    switch (e.kind) {
      case "load":
        return { ...e, index: this.value(e.index) };
      case "call":
        // Where chunks begin differs from value to value.
        return { ...e, args: e.args.map((x) => e.name.startsWith(CHUNKS) ? this.#operand(x, "-") : this.value(x)) };
      case "prefix":
      case "member":
        return { ...e, arg: this.value(e.arg) };
      case "infix":
        return this.#infix(e);
      default:
        return e;
    }
  }

  #infix({ left, operator, right }: Expr & { kind: "infix" }): Expr {
    const by = (n: number, role = operator): Expr => this.#named(this.unsigned, n, role);
    if (operator === "/" || operator === "%") {
      const whole = this.value(left);
      if (isFloat(right)) return infix(whole, operator, this.#operand(right, operator));
      if (!isUnsigned(right) || right.value < 2) return infix(whole, operator, this.value(right));
      const d = right.value;
      // CPU adapters divide by what is no constant lane by lane.
      const isSmall = this.#boundOf(left) <= MOST_DIVIDED;
      if (isPower(d) && !(isSmall && (this.#once || left.kind === "variable" && left.name === "o"))) {
        return operator === "/" ? infix(whole, ">>", by(Math.log2(d), ">>")) : infix(whole, "&", by(d - 1, "&"));
      }
      if (!isSmall) return infix(whole, operator, right);
      const scaled = infix(
        infix(call("f32", call("i32", whole)), "+", HALF),
        "*",
        this.#named(this.floats, 1 / d, "/"),
      );
      const quotient = call("u32", call("i32", scaled));
      return operator === "/" ? quotient : infix(whole, "-", infix(quotient, "*", by(d)));
    }
    const shifts = ["&", "|", "^", "<<", ">>"].includes(operator);
    const of = (
      x: Expr,
    ): Expr => (shifts || left.kind === right.kind && left.kind === "literal"
      ? this.value(x)
      : this.#operand(x, operator));
    return infix(of(left), operator, of(right));
  }

  #operand(e: Expr, role: string): Expr {
    // A slice or a chunk may begin at 0.
    if (isUnsigned(e) && (e.value > 0 || role === "+" || role === "-")) {
      return this.#named(this.unsigned, e.value, role);
    }
    if (isFloat(e) && Number.isFinite(e.value) && !SIMPLE.has(Math.abs(e.value))) {
      return this.#named(this.floats, e.value, role);
    }
    return this.value(e);
  }

  /** Equal numbers have one name. */
  #named(list: Record<string, number>, value: number, role: string): Expr {
    const key = `${list === this.floats} ${role} ${value}`;
    const known = this.#names.get(key);
    if (known) return variable(known);
    const name = `${this.#prefix}${Object.keys(this.unsigned).length + Object.keys(this.floats).length}`;
    list[name] = value;
    this.#names.set(key, name);
    return variable(name);
  }

  /** A number that a non-negative integer expression is below; Infinity if unknown. */
  #boundOf(e: Expr): number {
    if (isUnsigned(e)) return e.value + 1;
    if (e.kind === "variable") return this.#bounds.get(e.name) ?? Infinity;
    if (e.kind !== "infix") return Infinity;
    const [a, b] = [this.#boundOf(e.left), this.#boundOf(e.right)];
    const divisor = isUnsigned(e.right) ? e.right.value : 1;
    switch (e.operator) {
      case "+":
        return a + b - 1;
      case "*":
        return (a - 1) * (b - 1) + 1;
      case "/":
        return Math.ceil(a / divisor);
      case "%":
        return isUnsigned(e.right) ? Math.min(a, divisor) : a;
      default:
        return Infinity;
    }
  }
}

/** Sums and products of two integers, which an axis of one element gives. */
function folded(e: Expr): Expr {
  if (e.kind !== "infix" || !isUnsigned(e.left) || !isUnsigned(e.right)) return e;
  const [a, b] = [e.left.value, e.right.value];
  return e.operator === "+" ? u32(a + b) : e.operator === "*" ? u32(a * b) : e;
}

const HALF: Expr = { kind: "literal", text: "0.5f", value: 0.5 };
