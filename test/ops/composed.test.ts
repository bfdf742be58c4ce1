/**
 * Functions of computed values, in one kernel, against the same functions of values in memory: compilers of drivers
 * simplify what stands together.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { closeDevice, evaluate, type Tensor, tensor } from "../../engine/mod.ts";

type Unary = (x: Tensor) => Tensor;
const named = [
  ...["exp", "log", "log1p", "sqrt", "rsqrt", "square", "sin", "cos", "tanh", "erf", "sigmoid", "softplus", "relu"],
  ...["neg", "abs", "sign", "floor", "exp2", "expm1", "log2", "reciprocal", "tan", "asin", "acos", "atan", "sinh"],
  ...["cosh", "asinh", "acosh", "atanh", "round", "ceil", "trunc", "silu", "elu", "selu", "hardSwish", "mish", "gelu"],
] as const;
const functions: Record<string, Unary> = {
  ...Object.fromEntries(named.map((name) => [name, vg[name] as Unary])),
  atan2: (x) => vg.atan2(x, x.square().sub(0.3)),
  div: (x) => x.div(x.sub(0.2)),
  pow: (x) => vg.pow(x, 3),
  whole: (x) => x.clamp({ min: -1e6, max: 1e6 }).cast("i32").cast("f32"),
};
/** What makes a value computed: products, branches by bits, roots that may be NaN. */
const before = ["exp", "sqrt", "tanh", "sigmoid", "neg", "div", "sin"];
const x = tensor([0.3, -0.4, 0.5, 1, -2, 3, 0.9, -0.05, 0, -0, 17, -30, 1e-3, 0.7, -0.99, -1e-6, NaN]);

const close = (a: number, b: number): boolean =>
  Object.is(a, b) || Math.abs(a - b) <= 1e-4 * Math.abs(b) + 1e-6 || (Number.isNaN(a) && Number.isNaN(b));

for (const [name, f] of Object.entries(functions)) {
  test(`${name}() of a computed value is as of a stored one`, async () => {
    const stored = before.map((inner) => functions[inner](x));
    await evaluate(stored);
    const [together, apart] = [before.map((inner) => f(functions[inner](x))), stored.map((t) => f(t))];
    await evaluate([...together, ...apart]);
    for (const [k, inner] of before.entries()) {
      const [got, wanted] = [await together[k].data(), await apart[k].data()];
      const at = got.findIndex((v, i) => !close(v, wanted[i]));
      assert.is(at, -1, `${name}(${inner}(x)) at ${at}: ${got[at]}, apart ${wanted[at]}`);
    }
  });
}

test.after(closeDevice);
test.run();
