/** Offsets as sums, and statements without what nothing uses. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { offsetOf, sumOf } from "../../engine/compile/emit/affine.ts";
import { printStatements, type Statement, tidied } from "../../engine/compile/emit/statements.ts";
import { type Expr, infix, load, print, u32, variable } from "../../engine/core/expr.ts";

const [o, k] = [variable("o"), variable("k")];
const times = (a: Expr, n: number): Expr => infix(a, "*", u32(n));
const plus = (a: Expr, b: Expr): Expr => infix(a, "+", b);
const isFixed = (e: Expr): boolean => !print(e).includes("k");

/** The value of an expression of u32 with names. */
function valueOf(e: Expr, names: Readonly<Record<string, number>>): number {
  if (e.kind === "literal") return e.value;
  if (e.kind === "variable") return names[e.name];
  if (e.kind !== "infix") throw new Error(print(e));
  const [a, b] = [valueOf(e.left, names), valueOf(e.right, names)];
  const by: Record<string, number> = { "+": a + b, "-": a - b, "*": a * b, "/": Math.floor(a / b), "%": a % b };
  return by[e.operator];
}

test("offsetOf() slices that begin elsewhere differ in a number alone, also at 0 and of one element", () => {
  const bound: Expr[] = [];
  const text = (e: Expr): string => {
    bound.length = 0;
    const place = offsetOf(sumOf(e, () => undefined), isFixed, (x) => {
      bound.push(x);
      return variable("b");
    })!;
    return `${bound.map(print)}; ${print(place)}`;
  };
  assert.is(text(plus(times(o, 40), k)), "o * 40u + 0u; k + b");
  assert.is(text(plus(times(plus(o, u32(3)), 40), k)), "o * 40u + 120u; k + b");
  assert.is(text(plus(times(plus(times(plus(u32(0), u32(1)), 5), o), 40), k)), "o * 40u + 200u; k + b");
  assert.is(text(plus(k, u32(7))), "; k + 7u");
});

test("sumOf() knows names, keeps quotients whole, and its sum has the value of the expression", () => {
  const row = infix(o, "/", u32(6));
  const column = infix(o, "%", u32(6));
  const names: Record<string, Expr> = {
    row,
    column,
    at: plus(times(variable("row"), 9), plus(variable("column"), u32(2))),
  };
  const place = plus(times(variable("at"), 11), times(k, 2));
  const sum = sumOf(place, (name) => names[name]);
  assert.equal([...sum.terms.keys()], ["row", "column", "k"]);
  assert.is(sum.constant, 22);
  const written = offsetOf(sum, isFixed, (e) => e)!;
  for (const [i, j] of [[0, 0], [5, 3], [6, 1], [53, 10]]) {
    const own = { o: i, k: j, row: Math.floor(i / 6), column: i % 6 };
    const wanted = ((Math.floor(i / 6) * 9 + (i % 6 + 2)) * 11) + 2 * j;
    assert.is(valueOf(written, own), wanted);
  }
});

test("offsetOf() leaves an axis that is reversed", () => {
  assert.is(offsetOf(sumOf(infix(u32(9), "-", k), () => undefined), isFixed, (e) => e), null);
  assert.is(offsetOf(sumOf(infix(k, "-", u32(9)), () => undefined), isFixed, (e) => e), null);
});

test("tidied() drops names that nothing uses, keeps loads, and numbers the rest in order", () => {
  const dead: Statement[] = [
    { kind: "let", name: "v3", value: plus(o, u32(1)) },
    { kind: "let", name: "v4", value: plus(variable("v3"), u32(1)) },
    { kind: "let", name: "v9", value: load("b0", o) },
  ];
  const alive: Statement[] = [
    { kind: "let", name: "v7", value: times(k, 3) },
    {
      kind: "branch",
      name: "v8",
      type: "f32",
      condition: infix(k, "<", u32(2)),
      blocks: [
        { statements: [{ kind: "let", name: "v5", value: load("b1", variable("v7")) }], value: variable("v5") },
        { statements: [{ kind: "let", name: "v6", value: times(k, 5) }], value: variable("v7") },
      ],
    },
  ];
  const { lists, values } = tidied([dead, alive], [plus(variable("v8"), variable("v7"))]);
  assert.is(printStatements(lists[0]), "let v0 = b0[o];");
  assert.is(
    printStatements(lists[1]),
    "let v1 = k * 3u;\nvar v2: f32;\nif (k < 2u) {\n  let v3 = b1[v1];\n  v2 = v3;\n} else {\n  v2 = v1;\n}",
  );
  assert.is(print(values[0]), "v2 + v1");
});

test.run();
