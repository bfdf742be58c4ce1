/** Numbers taken out of the statements of fused kernels. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Lifted } from "../../engine/compile/emit/lift.ts";
import { printStatements, type Statement } from "../../engine/compile/emit/statements.ts";
import { call, type Expr, infix, print, u32, variable } from "../../engine/core/expr.ts";

const k = variable("k");
const f32 = (value: number): Expr => ({ kind: "literal", text: `${value}f`, value });

test("Lifted.value() names sizes, equal ones of one operator once", () => {
  const lifted = new Lifted({ k: 1000 });
  const text = print(lifted.value(infix(infix(infix(k, "*", u32(40)), "+", u32(40)), "*", u32(40))));
  assert.is(text, "(k * n0 + n1) * n0");
  assert.is(print(lifted.value(infix(infix(k, "*", u32(2)), "+", u32(1)))), "k * n2 + n3");
  assert.equal(lifted.unsigned, { n0: 40, n1: 40, n2: 2, n3: 1 });
});

test("Lifted.value() divides by powers of two in shifts, and keeps those of shifts", () => {
  const lifted = new Lifted({ k: Infinity });
  assert.is(print(lifted.value(infix(infix(k, "/", u32(4096)), "%", u32(32)))), "(k >> n0) & n1");
  assert.equal(lifted.unsigned, { n0: 12, n1: 31 });
  assert.is(print(lifted.value(infix(k, ">>", u32(7)))), "k >> 7u");
});

test("Lifted.statements() before a loop divides by powers of two like by other numbers", () => {
  const lifted = new Lifted({ o: 1000 });
  const half: Statement = { kind: "let", name: "a", value: infix(variable("o"), "/", u32(8)) };
  const third: Statement = { kind: "let", name: "a", value: infix(variable("o"), "/", u32(3)) };
  const text = (s: Statement): string => printStatements(lifted.statements([s], true)).replace(/n\d/, "n");
  assert.is(text(half), text(third));
});

test("Lifted.value() divides by way of f32 what is known to be below 2^21, else by the constant", () => {
  const quotient = infix(k, "/", u32(7));
  assert.is(print(new Lifted({ k: 2 ** 21 }).value(quotient)), "u32(i32((f32(i32(k)) + 0.5f) * n0))");
  assert.is(print(new Lifted({ k: 2 ** 21 + 1 }).value(quotient)), "k / 7u");
  assert.is(print(new Lifted({}).value(quotient)), "k / 7u");
  // What is below 2^21 x 3 is not after a multiplication, and is again after a division.
  const lifted = new Lifted({ k: 2 ** 21 });
  const statements: Statement[] = [
    { kind: "let", name: "a", value: infix(k, "*", u32(3)) },
    { kind: "let", name: "b", value: infix(variable("a"), "/", u32(4)) },
    { kind: "let", name: "c", value: infix(k, "-", u32(5)) },
  ];
  lifted.statements(statements);
  const by = (name: string): string => print(lifted.value(infix(variable(name), "/", u32(7))));
  assert.is(by("a"), "a / 7u");
  assert.match(by("b"), /^u32/);
  assert.is(by("c"), "c / 7u", "a difference may wrap around");
});

test("Lifted.value() the quotient by way of f32 is exact for all that it is used for", () => {
  const floor = Math.fround;
  for (const d of [3, 5, 7, 9, 31, 33, 100, 1000, 4097, 65_537, 1_048_577, 2_097_143]) {
    const by = floor(1 / d);
    for (let q = 0; q * d < 2 ** 21; q++) {
      for (const n of [q * d, q * d + d - 1].filter((n) => n < 2 ** 21)) {
        if (Math.trunc(floor(floor(n + 0.5) * by)) !== q) assert.unreachable(`${n} / ${d}`);
      }
    }
  }
});

test("Lifted.value() names factors of floats, and leaves simple numbers, other types and arguments", () => {
  const lifted = new Lifted({}, "m");
  const x = variable("x");
  assert.is(print(lifted.value(infix(infix(x, "*", f32(0.1)), "+", f32(1)))), "x * m0 + 1f");
  assert.is(print(lifted.value(call("max", x, f32(0.3)))), "max(x, 0.3f)");
  assert.equal([lifted.floats, lifted.unsigned], [{ m0: 0.1 }, {}]);
});

test.run();
