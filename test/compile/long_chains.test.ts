/**
 * Long and wide elementwise expressions: cut into kernels of bounded size, so that neither the stack nor compile time
 * gives out.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { compile, grad, pad, type ProgramInfo, type Tensor, tensor } from "../../engine/mod.ts";

const start = Array.from({ length: 48 }, (_, k) => (k - 20) / 16);
const x = tensor(start);

/** Values of f, compiled and not, against `wanted`, and what the program is made of. */
async function run(f: (t: Tensor) => Tensor, wanted: readonly number[], tolerance: number): Promise<ProgramInfo> {
  const program = compile(f);
  for (const y of [await program(x), f(x)]) {
    const got = await y.data();
    wanted.forEach((w, k) =>
      assert.ok(Math.abs(got[k] - w) <= tolerance * Math.max(1, Math.abs(w)), `${k}: ${got[k]} for ${w}`)
    );
  }
  const [info] = program.programs();
  program.dispose();
  return info;
}
const sumOf = (f: (t: Tensor) => Tensor) => (t: Tensor): Tensor => f(t).sum();

test("evaluate() and grad() of 2000 additions take few kernels", async () => {
  const f = (t: Tensor): Tensor => {
    for (let k = 0; k < 2000; k++) t = t.add(0.5);
    return t;
  };
  const info = await run(f, start.map((v) => v + 1000), 1e-5);
  assert.ok(info.dispatches <= 2000 / 100 && info.pipelines <= 4, JSON.stringify(info));
  await run(grad(sumOf(f)), start.map(() => 1), 0);
});

test("evaluate() of a running mean of 3000 steps takes few pipelines", async () => {
  const f = (t: Tensor): Tensor => {
    for (let k = 0; k < 3000; k++) t = t.mul(0.999).add(0.001);
    return t;
  };
  const info = await run(f, start.map((v) => 1 + (v - 1) * 0.999 ** 3000), 2e-4);
  assert.ok(info.pipelines <= 4, JSON.stringify(info));
  await run(grad(sumOf(f)), start.map(() => 0.999 ** 3000), 1e-4);
});

test("evaluate() and grad() of 500 Euler steps agree with a loop", async () => {
  const [steps, h] = [1000, 0.004];
  const f = (t: Tensor): Tensor => {
    for (let k = 0; k < steps; k++) t = t.add(t.sin().mul(h));
    return t;
  };
  const ends = start.map((v) => {
    let [y, d] = [v, 1];
    for (let k = 0; k < steps; k++) [y, d] = [y + h * Math.sin(y), d * (1 + h * Math.cos(y))];
    return [y, d] as const;
  });
  const info = await run(f, ends.map(([y]) => y), 2e-4);
  assert.ok(info.dispatches < steps / 5 && info.pipelines <= 12, `${info.dispatches}, ${info.pipelines}`);
  const gradient = await run(grad(sumOf(f)), ends.map(([, d]) => d), 2e-3);
  assert.ok(gradient.pipelines <= 40, `${gradient.pipelines}`);
});

test("evaluate() of a sum of 1000 tensors, and of 1000 functions of one, agrees with a loop", async () => {
  const many = Array.from({ length: 1000 }, (_, k) => tensor([k % 7]));
  const total = many.reduce((sum, _, k) => sum + (k % 7), 0);
  await run((t) => many.reduce((sum, y) => sum.add(y), t), start.map((v) => v + total), 1e-5);
  const functions = (t: Tensor): Tensor => {
    let list = many.map((_, k) => t.mul((k % 5) / 8).add(k % 3));
    while (list.length > 1) {
      list = list.flatMap((a, k) => (k % 2 ? [] : [k + 1 < list.length ? a.add(list[k + 1]) : a]));
    }
    return list[0];
  };
  const wanted = start.map((v) => many.reduce((sum, _, k) => sum + (v * (k % 5)) / 8 + (k % 3), 0));
  const info = await run(functions, wanted, 1e-5);
  assert.ok(info.dispatches <= 3000 / 40, `${info.dispatches}`);
});

test("evaluate() of 60 steps of a stencil agrees with a loop", async () => {
  const f = (t: Tensor): Tensor => {
    for (let k = 0; k < 60; k++) {
      t = t.add(pad(t.slice({ start: [1], end: [48] }), { before: [0], after: [1] })).mul(0.5);
    }
    return t;
  };
  let rows = start;
  for (let k = 0; k < 60; k++) rows = rows.map((v, j) => (v + (rows[j + 1] ?? 0)) / 2);
  const info = await run(f, rows, 1e-5);
  assert.ok(info.dispatches > 3 && info.dispatches <= 30, `${info.dispatches}`);
});

test.after(vg.closeDevice);
test.run();
