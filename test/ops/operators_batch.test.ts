/** What holds for every operator of test/ops/operators.ts: vmap is a loop over the examples. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { Tensor, tensor } from "../../engine/mod.ts";
import {
  type Function,
  gradient,
  isFloat,
  like,
  lossOf,
  near,
  smooth,
  values,
  withGiven,
} from "../helpers/operator_checks.ts";
import { call, label, tensorsOf } from "../helpers/operator_entry.ts";
import { entries, onlyOperator } from "./operators.ts";

const BATCH = 3;

for (const e of entries) {
  test(`vmap() of ${label(e)} is a loop over the examples`, async () => {
    // An operator without inputs is the same for every example.
    const single = e.inputs.length > 0 ? tensorsOf(e) : [tensor([0])];
    const many = e.inputs.length > 0 ? tensorsOf(e, BATCH) : [tensor([[0], [0], [0]])];
    const f: Function = (...xs) => call(e, e.inputs.length > 0 ? xs : []);
    const example = (x: Tensor, i: number): Tensor =>
      x.slice({ start: [i], end: [i + 1] }).reshape({ shape: x.shape.slice(1) });
    const loop = (g: Function, xs: readonly Tensor[], mapped: readonly boolean[]): Tensor[] => {
      const each = Array.from({ length: BATCH }, (_, i) => g(...xs.map((x, k) => (mapped[k] ? example(x, i) : x))));
      return each[0].map((_, j) => vg.stack(each.map((ys) => ys[j])));
    };
    const lists: Record<string, Tensor[]> = {};
    const compare = (what: string, g: Function, mapped: readonly boolean[], xs: readonly Tensor[]): void => {
      lists[what] = vg.vmap(g, { inAxes: mapped.map((m) => (m ? 0 : null)) })(...xs);
      lists[`${what} looped`] = loop(g, xs, mapped);
    };
    const all = many.map(() => true);
    compare("all", f, all, many);
    if (many.length > 1) {
      for (const k of many.keys()) {
        compare(
          `input ${k} alone`,
          f,
          many.map((_, j) => j === k),
          many.map((x, j) => (j === k ? x : single[j])),
        );
      }
    }
    if (e.derivative === "smooth" && smooth(e).length > 0 && call(e, single).some(isFloat)) {
      const us = call(e, single).map((y, k) => like(y, 50 + k));
      const vs = smooth(e).map((k) => like(single[k], 70 + k));
      const loss = (...xs: Tensor[]): Tensor => lossOf(withGiven(e, xs), us)(...pick(xs));
      const pick = (xs: readonly Tensor[]): Tensor[] => smooth(e).map((k) => xs[k]);
      const gradients: Function = (...xs) => gradient(lossOf(withGiven(e, xs), us))(...pick(xs));
      const products: Function = (...xs) => vg.hvp(lossOf(withGiven(e, xs), us), pick(xs), vs);
      compare("gradients", gradients, all, many);
      compare("hvp", products, all, many);
      // The other way round: derivatives of the batched operators.
      const batched = (...points: Tensor[]): Tensor => {
        const xs = [...many];
        smooth(e).forEach((k, j) => (xs[k] = points[j]));
        return vg
          .vmap(loss)(...xs)
          .sum();
      };
      const spread = vs.map((v) => v.broadcastTo({ shape: [BATCH, ...v.shape] }));
      lists["hvp of vmap"] = vg.hvp(batched, pick(many), spread);
      lists["hvp of vmap looped"] = lists["hvp looped"];
    }
    const got = await values(lists);
    for (const what of Object.keys(lists).filter((name) => !name.endsWith(" looped"))) {
      lists[what].forEach((t, k) => {
        assert.equal([...t.shape], [...lists[`${what} looped`][k].shape], `${what}: shape`);
        assert.is(t.dtype, lists[`${what} looped`][k].dtype, `${what}: dtype`);
      });
      // Kernels may sum in another order where the batch makes them another size.
      near(got[what], got[`${what} looped`], what.startsWith("hvp") ? 2e-6 : 1e-6, `${what} mapped`);
    }
  });
}
test("vmap() of vmap() maps two axes", async () => {
  const twice = ["conv2d", "groupNorm", "sum", "take", "matmul", "softmax", "concat", "random.normal", "gridSample"];
  for (const name of twice.filter((each) => !onlyOperator || each === onlyOperator)) {
    const e = entries.find((x) => x.operator === name)!;
    const f: Function = (...xs) => call(e, xs);
    const many = tensorsOf(e, 6).map((x) => x.reshape({ shape: [2, 3, ...x.shape.slice(1)] }));
    const once = many.map((x) => x.reshape({ shape: [6, ...x.shape.slice(2)] }));
    const flat = vg.vmap(f)(...once);
    const { nested, wanted } = await values({
      nested: vg.vmap(vg.vmap(f))(...many),
      wanted: flat.map((y) => y.reshape({ shape: [2, 3, ...y.shape.slice(1)] })),
    });
    near(nested, wanted, 1e-6, name);
  }
});

test.after(vg.closeDevice);
test.run();
