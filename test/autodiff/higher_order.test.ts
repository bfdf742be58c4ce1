/** Networks against PyTorch in float64: Hessian-vector products, and third derivatives along two directions. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { Tensor, tensor } from "../../engine/mod.ts";
import { assertClose } from "../helpers/compare.ts";
import { goldenJson, goldenTensors, toTensor } from "../helpers/golden.ts";

const inner = (a: readonly Tensor[], b: readonly Tensor[]): Tensor =>
  a.map((x, k) => x.mul(b[k]).sum()).reduce((x, y) => x.add(y));

const method = goldenJson("methods").cases.find((c: { name: string }) => c.name === "hvp.network");
const read = goldenTensors("methods");

test("hvp() of a network with a skip connection and cross-entropy agrees with PyTorch", async () => {
  const image = toTensor(read(method.image));
  const crop = (x: Tensor): Tensor => x.slice({ end: [...x.shape.slice(0, -1), 4] });
  const labels = crop(toTensor(read(method.labels)));
  const weights: Tensor[] = method.weights.map((key: string) => toTensor(read(key)));
  const vector: Tensor[] = method.vector.map((key: string) => toTensor(read(key)));
  const loss = (...[conv, scale, shift, down, up, head, bias]: Tensor[]): Tensor => {
    const normed = vg.groupNorm(vg.conv3d(image, conv, { padding: 1 }), { groups: 4, weight: scale, bias: shift });
    const h = crop(normed.leakyRelu({ slope: 0.01 }));
    const low = vg.conv3d(h, down, { stride: 2 }).tanh();
    const sum = h.add(vg.convTranspose3d(low, up, { stride: 2 }));
    return vg.crossEntropy(vg.conv3d(sum, head, { bias: bias }), labels);
  };
  const gradients = (ws: Tensor[]): Tensor[] => vg.grad((xs: Tensor[]) => loss(...xs))(ws);
  const [value, grads] = vg.valueAndGrad((ws: Tensor[]) => loss(...ws))(weights);
  const results = {
    value,
    grads,
    forward: vg.hvp(loss, weights, vector),
    reverse: vg.grad((ws: Tensor[]) => inner(gradients(ws), vector))(weights),
  };
  await vg.evaluate(results);
  assert.ok(Math.abs((await value.item()) - method.loss) < 1e-5 * method.loss);
  for (const k of weights.keys()) {
    await assertClose(grads[k], read(method.grad[k]), 1e-5, `gradient ${k}`);
    await assertClose(results.forward[k], read(method.hvp[k]), 1e-3, `hvp ${k}`);
    await assertClose(results.reverse[k], read(method.hvp[k]), 1e-3, `reverse over reverse ${k}`);
  }
});

interface Formula {
  shape: number[];
  a: number;
  b: number;
  s: number;
  base: number;
}
const formula = ({ shape, a, b, s, base }: Formula): Tensor =>
  tensor(
    Float32Array.from({ length: shape.reduce((m, n) => m * n, 1) }, (_, k) => Math.sin(a * k + b) * s + base),
    {
      shape,
    },
  );

test("grad() of hvp() gives the third derivatives of PyTorch", async () => {
  const golden = goldenJson("third_order");
  const names: string[] = golden.parameters;
  const x = formula(golden.tensors.x);
  const weights = names.map((name) => formula(golden.tensors[name]));
  const direction = (j: number): Tensor[] =>
    weights.map((w, i) =>
      formula({ shape: [...w.shape], a: 0.8 + 0.3 * j + 0.1 * i, b: 0.25 * (j + 1) + 0.5 * i, s: 1, base: 0 })
    );
  const [v0, v1] = [direction(0), direction(1)];
  const loss = (ws: Tensor[]): Tensor => {
    const [conv, scale, shift, down, bias] = ws as [Tensor, Tensor, Tensor, Tensor, Tensor];
    const h = vg.groupNorm(vg.conv3d(x, conv, { padding: 1 }), { groups: 2, weight: scale, bias: shift, eps: 1e-3 });
    const y = vg.conv3d(h.tanh(), down, { bias, stride: [1, 2, 1] });
    return y.pow(3).mean().add(y.softplus().mean());
  };
  // grad of grad of grad, and forward mode over forward mode over reverse mode.
  const second = (ws: Tensor[]): Tensor[] => vg.grad((xs: Tensor[]) => inner(vg.grad(loss)(xs), v0))(ws);
  const third = vg.grad((ws: Tensor[]) => inner(second(ws), v1))(weights);
  const product = (...ws: Tensor[]): Tensor[] => vg.hvp((...xs: Tensor[]) => loss(xs), ws, v0);
  const [, forward] = vg.jvp(product, weights, v1) as [Tensor[], Tensor[]];
  const results = { loss: loss(weights), second: second(weights), third, forward };
  await vg.evaluate(results);
  assert.ok(Math.abs((await results.loss.item()) - golden.loss) < 1e-5 * golden.loss);
  for (const [k, name] of names.entries()) {
    const wanted = (data: number[]) => ({ shape: weights[k].shape, data });
    await assertClose(results.second[k], wanted(golden.second[name]), 1e-3, `second, ${name}`);
    await assertClose(third[k], wanted(golden.third[name]), 1e-3, `third, ${name}`);
    await assertClose(forward[k], wanted(golden.third[name]), 1e-3, `third in forward mode, ${name}`);
  }
});

test.after(vg.closeDevice);
test.run();
