// deno-lint-ignore-file no-explicit-any
/** compile with precision "mixed": types of what operators give, the loss scale, steps that are left out. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { compile, ones, Tensor, tensor } from "../../engine/mod.ts";
import * as nn from "../../engine/nn/mod.ts";
import { type Mixed, withPrecision } from "../../engine/core/precision.ts";
import { nextLossScale } from "../../engine/ops/elementwise/loss_scale.ts";

const { features } = await vg.deviceInfo();
const computes = features.includes("shader-f16");
if (!computes) console.log("The adapter has no f16: types are checked, values are not.");

const traced = (): Mixed => ({ scale: tensor([8]).reshape({ shape: [] }), depth: 0, finite: null });

test("compile() in mixed precision gives products in f16, layers in their input's, sums in f32", () => {
  withPrecision(traced(), () => {
    const x = ones([2, 4, 6, 6]);
    const w = ones([4, 4, 3, 3]);
    const [weight, bias] = [ones([4]), ones([4])];
    const y = vg.conv2d(x, w, { bias, padding: 1 });
    const labels = vg.zeros([2, 6, 6], { dtype: "i32" });
    const types: Record<string, Tensor> = {
      conv: y,
      matmul: vg.matmul(ones([2, 3]), ones([3, 2])),
      norm: vg.groupNorm(y, { groups: 2, weight, bias }),
      relu: y.relu(),
      residual: y.add(y),
      pool: vg.maxPool2d(y, { kernel: 2 }),
      "norm of f32": vg.groupNorm(x, { groups: 2, weight, bias }),
      sum: y.sum(),
      mean: y.mean({ axes: [1] }),
      exp: y.exp(),
      softmax: vg.softmax(y),
      crossEntropy: vg.crossEntropy(y, labels),
      softDice: nn.softDice(y, labels),
    };
    const half = ["conv", "matmul", "norm", "relu", "residual", "pool"];
    for (const [name, t] of Object.entries(types)) assert.is(t.dtype, half.includes(name) ? "f16" : "f32", name);
    const [dx, dw] = vg.grad(([a, b]: [Tensor, Tensor]) => vg.conv2d(a, b).square().mean())([x, w]);
    assert.is(dx.dtype, "f32");
    assert.is(dw.dtype, "f32");
  });
  assert.is(vg.conv2d(ones([1, 1, 3, 3]), ones([1, 1, 3, 3])).dtype, "f32", "outside of a trace");
});

test("nextLossScale() halves at an overflow and doubles after 2,000 steps without, within bounds", async () => {
  const next = async (scale: number, steps: number, finite: boolean): Promise<number[]> => {
    const state = nextLossScale(
      tensor([scale, steps]),
      tensor([finite ? 1 : 0])
        .cast("bool")
        .reshape({ shape: [] }),
    );
    return [...(await state.data())];
  };
  assert.equal(await next(1024, 5, true), [1024, 6]);
  assert.equal(await next(1024, 1999, true), [2048, 0]);
  assert.equal(await next(1024, 1999, false), [512, 0]);
  assert.equal(await next(1, 0, false), [1, 0]);
  assert.equal(await next(2 ** 24, 1999, true), [2 ** 24, 0]);
});

test("compile() in mixed precision throws without f16, with what to do", async () => {
  const step = compile((x: Tensor) => vg.matmul(x, x), { precision: "mixed" });
  if (computes) return void (await step(ones([2, 2])));
  try {
    await step(ones([2, 2]));
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).message, /compile: precision "mixed" needs the WebGPU feature shader-f16/);
  }
});

test("compile() throws on an unknown precision", () => {
  assert.throws(() => compile((x: Tensor) => x, { precision: "f16" as vg.Precision }), /precision is "f32" or "mixed"/);
});

if (computes) {
  const product = (p: Tensor, x: Tensor): Tensor => vg.matmul(x, p).mean();
  const optimizers: Record<string, nn.Optimizer> = { sgd: nn.sgd({ momentum: 0.9 }), adam: nn.adam() };

  for (const [name, optimizer] of Object.entries(optimizers)) {
    test(`${name}() skips a step whose gradients overflow, and halves the scale until they do not`, async () => {
      const step = compile(
        (p: Tensor, state: any, x: Tensor) => {
          const [loss, g] = vg.valueAndGrad(product)(p, x);
          return [loss, ...optimizer.update(g, state, p, 0.5)] as [Tensor, Tensor, any];
        },
        { precision: "mixed" },
      );
      let p = await vg.evaluate(ones([2, 1]));
      let state = optimizer.init(p);
      // d loss / d p = mean of 48 and 16 over two rows = 32: times 65,536 and 32,768 it is beyond 65,504, times 1,024
      // it is not.
      const x = tensor([48, 48, 16, 16], { shape: [2, 2] });
      const scales: number[] = [];
      for (let k = 0; k < 12; k++) {
        const before = [...(await p.data())];
        const scale = await step.lossScale();
        [, p, state] = await step(p, state, x);
        const left = (await step.lossScale()) < scale;
        scales.push(scale);
        const after = [...(await p.data())];
        if (left) {
          assert.equal(after, before);
          for (const t of vg.tree.leaves(state)) for (const v of await t.data()) assert.is(v, 0, "state");
        } else assert.ok(after.every((v, i) => v < before[i]));
      }
      assert.is(scales[0], 65536);
      assert.ok(scales[1] < scales[0] && scales.at(-1)! === scales.at(-2)!, `scales ${scales}`);
    });
  }

  test("compile() in mixed precision keeps gradients below the range of f16 by the loss scale", async () => {
    // d loss / d p = 2e-6 x through an f16 cotangent of 2e-9, below 6e-8, the least of f16.
    const gradient = compile((p: Tensor, x: Tensor) => vg.grad((q: Tensor) => vg.matmul(x, q).sum().mul(2e-9))(p), {
      precision: "mixed",
    });
    const x = tensor([1, 0.5], { shape: [1, 2] });
    const got = [...(await (await gradient(ones([2, 1]), x)).data())];
    got.forEach((v, k) => assert.ok(Math.abs(v / (2e-9 * [1, 0.5][k]) - 1) < 2e-3, `${v}`));
  });

  test("grad() of a squared gradient is scaled once in mixed precision", async () => {
    const cube = (p: Tensor): Tensor => p.mul(p).mul(p).sum();
    const f = compile((p: Tensor) => vg.grad((q: Tensor) => vg.grad(cube)(q).square().sum())(p), {
      precision: "mixed",
    });
    // (3 p^2)^2 = 9 p^4, whose derivative is 36 p^3
    const [v] = await (await f(tensor([0.5]))).data();
    assert.ok(Math.abs(v - 36 * 0.125) < 1e-5, `${v}`);
    assert.is(await f.lossScale(), 65536);
  });
}

test.after(vg.closeDevice);
test.run();
