/**
 * Every operator of test/ops/operators.ts on f16 inputs: dtypes of results and derivatives, and where the adapter has
 * f16 their values against those of the same numbers in f32.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { Tensor } from "../../engine/mod.ts";
import { isFloat, like, lossOf, near, smooth, values, withGiven } from "../helpers/operator_checks.ts";
import { call, label, tensorsOf } from "../helpers/operator_entry.ts";
import { entries } from "./operators.ts";

const { features } = await vg.deviceInfo();
const computes = features.includes("shader-f16");
if (!computes) console.log("The adapter has no f16: dtypes are checked, values are not.");

const half = (x: Tensor): Tensor => (x.dtype === "f32" ? x.cast("f16") : x);
const wide = (x: Tensor): Tensor => (x.dtype === "f32" ? x : x.cast("f32"));

for (const e of entries) {
  // Distances of f16 masks are refused.
  if (e.derivative === "refused" || !e.inputs.some(({ dtype }) => dtype === "f32")) continue;
  test(`${label(e)} on f16 has the documented dtypes, and the values of f32`, async () => {
    const inputs = tensorsOf(e).map(half);
    // The same numbers, which f16 holds, in f32.
    const same = inputs.map((x) => (x.dtype === "f16" ? wide(x) : x));
    const outputs = call(e, inputs);
    const dtypes = [e.half].flat() as vg.DType[];
    const dtypeOf = (k: number): vg.DType => dtypes[k % dtypes.length];
    outputs.forEach((y, k) => assert.is(y.dtype, dtypeOf(k), "dtype"));
    const lists: Record<string, Tensor[]> = { values: outputs, "values in f32": call(e, same) };
    if (e.derivative === "smooth" && smooth(e).length > 0 && outputs.some(isFloat)) {
      const us = outputs.map((y, k) => half(like(y, 50 + k)));
      const vs = smooth(e).map((k) => half(like(inputs[k], 70 + k)));
      for (
        const [suffix, xs] of [
          ["", inputs],
          [" in f32", same],
        ] as const
      ) {
        const f = withGiven(e, xs);
        const points = smooth(e).map((k) => xs[k]);
        lists[`jvp${suffix}`] = vg.jvp(f, points, vs)[1];
        lists[`vjp${suffix}`] = vg.vjp(f, points)[1](us);
        lists[`hvp${suffix}`] = vg.hvp(lossOf(f, us.map(wide)), points, vs);
      }
      const tangentOf = (k: number): vg.DType => (isFloat(outputs[k]) ? dtypeOf(k) : "f32");
      lists.jvp.forEach((y, k) => assert.is(y.dtype, tangentOf(k), "dtype of the tangent"));
      for (const y of [...lists.vjp, ...lists.hvp]) assert.is(y.dtype, "f16", "dtype of gradients");
    }
    if (!computes) return;
    const got = await values(Object.fromEntries(Object.entries(lists).map(([name, list]) => [name, list.map(wide)])));
    for (const name of Object.keys(lists).filter((key) => !key.endsWith(" in f32"))) {
      // An f16 has 11 bits; what lies between may be rounded to it too, more often in second derivatives.
      near(got[name], got[`${name} in f32`], name === "hvp" ? 3e-2 : 1e-2, name);
    }
  });
}

test.after(vg.closeDevice);
test.run();
