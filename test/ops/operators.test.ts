/**
 * What holds for every operator: it is in the table (test/ops/operators.ts), forward and reverse mode agree, second
 * derivatives are those of the gradient, checkpoint changes no bit.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { Tensor } from "../../engine/mod.ts";
import * as operators from "../../engine/ops/mod.ts";
import { methodNames } from "../../engine/ops/methods.ts";
import {
  distance,
  dot,
  gradient,
  isFloat,
  like,
  lossOf,
  near,
  norm,
  smooth,
  total,
  values,
  withGiven,
} from "../helpers/operator_checks.ts";
import { argumentsOf, call, label, tensorsOf } from "../helpers/operator_entry.ts";
import { allEntries, entries } from "./operators.ts";

test("entries of the table cover every operator() and method", () => {
  const exported = Object.entries(operators).flatMap(([name, value]) =>
    typeof value === "function" ? [name] : Object.keys(value).map((inner) => `${name}.${inner}`)
  );
  const covered = new Set(allEntries.map((e) => e.operator));
  assert.equal(
    exported.filter((name) => !covered.has(name)),
    [],
    "exported, not in the table",
  );
  assert.equal(
    [...covered].filter((name) => !exported.includes(name)),
    [],
    "in the table, not exported",
  );
  const known = [
    "constructor",
    "settle",
    "donate",
    "takeBack",
    "data",
    "item",
    "array",
    "dispose",
    "toString",
    "source",
    "size",
    "rank",
  ];
  assert.equal(
    Object.getOwnPropertyNames(Tensor.prototype).filter((name) => !known.includes(name) && !methodNames.includes(name)),
    [],
    "functions of Tensor that are neither its own nor methods",
  );
  assert.equal(
    methodNames.filter((name) => !covered.has(name)),
    [],
    "methods that are no operators",
  );
  assert.equal(new Set(allEntries.map(label)).size, allEntries.length, "labels tell entries apart");
});

for (const e of entries) {
  test(`${label(e)}: derivatives of both modes agree, and checkpoint() changes no bit`, async () => {
    const inputs = tensorsOf(e);
    const f = withGiven(e, inputs);
    const points = smooth(e).map((k) => inputs[k]);
    const outputs = call(e, inputs);
    // The method is the operator.
    if (methodNames.includes(e.operator) && e.before.length === 0) {
      const [self, ...args] = argumentsOf(e, inputs) as [Tensor, ...unknown[]];
      const method = (self as unknown as Record<string, (...args: unknown[]) => Tensor | Tensor[]>)[e.operator];
      const { own, plain } = await values({ own: [method.apply(self, args)].flat(), plain: outputs });
      assert.is(distance(own, plain), 0, "method");
    }
    const us = outputs.map((y, k) => like(y, 50 + k));
    const vs = points.map((x, k) => like(x, 70 + k));
    const loss = lossOf(f, us);

    e.inputs.forEach(({ dtype }, k) => {
      if (dtype === "f32") return;
      const by = (x: Tensor): Tensor =>
        lossOf(
          (y) =>
            call(
              e,
              inputs.map((z, j) => (j === k ? y : z)),
            ),
          us,
        )(x);
      const refused = (error: Error): boolean =>
        error instanceof vg.VoxgradError && error.message.includes(`is ${dtype}, which has no gradient`);
      assert.throws(() => vg.grad(by)(inputs[k]), refused, `grad by input ${k}`);
      assert.throws(() => vg.vjp(by, [inputs[k]]), refused, `vjp by input ${k}`);
      assert.throws(() => vg.jvp(by, [inputs[k]], [inputs[k]]), refused, `jvp by input ${k}`);
    });
    if (points.length === 0) return;

    if (e.derivative === "refused") {
      const refused = (error: Error): boolean =>
        error instanceof vg.VoxgradError && error.message.startsWith(`${e.operator}: `);
      assert.throws(() => gradient(loss)(...points), refused, "grad");
      assert.throws(() => vg.jvp(loss, points, vs), refused, "jvp");
      return;
    }
    const constant = e.derivative === "zero" || !outputs.some(isFloat);
    if (constant) {
      const { g, t } = await values({ g: gradient(loss)(...points), t: [vg.jvp(loss, points, vs)[1]] });
      for (const x of [...g, ...t]) {
        assert.ok(
          Array.from(x).every((v) => v === 0),
          "derivatives of steps are zero",
        );
      }
      return;
    }

    const [y, tangent] = vg.jvp(f, points, vs) as [Tensor[], Tensor[]];
    const pulled = vg.vjp(f, points)[1](us) as Tensor[];
    const [kept, pullKept] = vg.vjp(vg.checkpoint(f), points) as [Tensor[], (g: Tensor[]) => Tensor[]];
    // Differences of f32 gradients carry a rounding error of about 1e-6 / STEP and a truncation error of about STEP^2.
    const STEP = 0.01;
    const shifted = (sign: number): Tensor[] => points.map((x, k) => x.add(vs[k].mul(sign * STEP)));
    const slope = (xs: readonly Tensor[]): Tensor => total(gradient(loss)(...xs).map((g, k) => g.mul(vs[k]).sum()));
    const got = await values({
      y,
      tangent,
      pulled,
      kept,
      keptPulled: pullKept(us),
      hvp: vg.hvp(loss, points, vs),
      keptHvp: vg.hvp(lossOf(vg.checkpoint(f), us), points, vs),
      reverse: vg.grad((xs: Tensor[]) => slope(xs))(points),
      forth: gradient(loss)(...shifted(1)),
      back: gradient(loss)(...shifted(-1)),
    });
    const [u, v] = await Promise.all([us, vs].map((list) => Promise.all(list.map((x) => x.data()))));
    // Each entry of Jv and J'u is good to some rounding errors of 6e-8 of the terms that it sums; by Cauchy and Schwarz
    // those of the inner products are bounded by the product of norms.
    const scale = norm(u) * norm(got.tangent) + norm(got.pulled) * norm(v);
    const gap = Math.abs(dot(u, got.tangent) - dot(got.pulled, v));
    assert.ok(scale > 0, "derivatives are not all zero");
    assert.ok(gap <= 1e-5 * scale, `<u, Jv> and <J'u, v> differ by ${gap.toExponential(2)}, scale ${scale}`);
    const differences = got.forth.map((g, k) => Array.from(g, (x, i) => (x - got.back[k][i]) / (2 * STEP)));
    near(got.hvp, differences, 1e-2, "hvp against differences of gradients");
    near(got.reverse, got.hvp, 1e-4, "reverse over reverse against forward over reverse");
    assert.is(distance(got.kept, got.y), 0, "value of checkpoint");
    assert.is(distance(got.keptPulled, got.pulled), 0, "gradient of checkpoint");
    near(got.keptHvp, got.hvp, 1e-6, "hvp of checkpoint");
  });
}

test.after(vg.closeDevice);
test.run();
