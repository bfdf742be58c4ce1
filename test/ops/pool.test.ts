// deno-lint-ignore-file no-explicit-any
/** Pooling against loops in float64, with the derivatives that the loops imply. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { type Tensor, tensor } from "../../engine/mod.ts";
import { assertClose } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";
import { refuses } from "../helpers/refuse.ts";

type Three = [number, number, number];
interface Windows {
  planes: [number, number];
  input: Three;
  kernel: Three;
  stride: Three;
  padding: Three;
}

const cases: Windows[] = [
  { planes: [2, 3], input: [5, 7, 9], kernel: [2, 3, 2], stride: [2, 3, 2], padding: [0, 0, 0] },
  { planes: [2, 1], input: [6, 5, 11], kernel: [3, 3, 3], stride: [1, 2, 1], padding: [1, 1, 1] },
  { planes: [1, 2], input: [4, 9, 13], kernel: [1, 5, 4], stride: [1, 1, 3], padding: [0, 2, 2] },
  { planes: [1, 1], input: [7, 3, 5], kernel: [2, 2, 2], stride: [3, 4, 5], padding: [1, 0, 1] },
  { planes: [2, 2], input: [3, 4, 5], kernel: [3, 4, 5], stride: [1, 1, 1], padding: [0, 0, 0] },
];

const outputOf = (w: Windows): Three =>
  w.input.map((n, k) => Math.floor((n + 2 * w.padding[k] - w.kernel[k]) / w.stride[k]) + 1) as Three;

/** Calls `visit(window, voxel)` for every voxel of every window, both as flat places, in row-major order. */
function eachVoxel(w: Windows, visit: (window: number, voxel: number) => void): void {
  const output = outputOf(w);
  const [, h, width] = w.input;
  let window = 0;
  for (let p = 0; p < w.planes[0] * w.planes[1]; p++) {
    const start = p * w.input[0] * h * width;
    for (let oz = 0; oz < output[0]; oz++) {
      for (let oy = 0; oy < output[1]; oy++) {
        for (let ox = 0; ox < output[2]; ox++, window++) {
          for (let a = 0; a < w.kernel[0]; a++) {
            for (let b = 0; b < w.kernel[1]; b++) {
              for (let c = 0; c < w.kernel[2]; c++) {
                const at = [oz, oy, ox].map((o, k) => o * w.stride[k] - w.padding[k] + [a, b, c][k]);
                if (at.every((i, k) => i >= 0 && i < w.input[k])) {
                  visit(window, start + (at[0] * h + at[1]) * width + at[2]);
                }
              }
            }
          }
        }
      }
    }
  }
}

/** The weight of each voxel in each window: one at the largest, or all equal. */
function weightsOf(w: Windows, by: "max" | "mean", x: ArrayLike<number>): [number, number, number][] {
  const list: [number, number, number][] = [];
  if (by === "mean") {
    eachVoxel(w, (o, v) => list.push([o, v, 1 / (w.kernel[0] * w.kernel[1] * w.kernel[2])]));
    return list;
  }
  const best = new Map<number, number>();
  eachVoxel(w, (o, v) => {
    const at = best.get(o);
    if (at === undefined || x[v] > x[at]) best.set(o, v);
  });
  return [...best].map(([o, v]) => [o, v, 1]);
}

const count = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const forward = (list: [number, number, number][], x: ArrayLike<number>, n: number): Float64Array => {
  const y = new Float64Array(n);
  for (const [o, v, weight] of list) y[o] += weight * x[v];
  return y;
};
const backward = (list: [number, number, number][], g: ArrayLike<number>, n: number): Float64Array => {
  const dx = new Float64Array(n);
  for (const [o, v, weight] of list) dx[v] += weight * g[o];
  return dx;
};

for (const [k, w] of cases.entries()) {
  for (const by of ["max", "mean"] as const) {
    test(`${by}Pool3d() and its derivatives agree with a float64 loop: case ${k}`, async () => {
      const { kernel, stride, padding } = w;
      const inShape = [...w.planes, ...w.input];
      const outShape = [...w.planes, ...outputOf(w)];
      const f = (x: Tensor): Tensor => (by === "max" ? vg.maxPool3d : vg.avgPool3d)(x, { kernel, stride, padding });
      const [x, t, g] = [noise(count(inShape), 3), noise(count(inShape), 4), noise(count(outShape), 5)];
      const at = (data: Float32Array, shape: number[]): Tensor => tensor(data, { shape });
      const list = weightsOf(w, by, x);
      const y = forward(list, x, g.length);
      const dy = forward(list, t, g.length);
      const what = `${by} ${k}`;

      const [value, pullback] = vg.vjp(f, [at(x, inShape)]);
      const dx = pullback(at(g, outShape))[0];
      await assertClose(value, { shape: outShape, data: y }, 1e-6, what);
      await assertClose(dx, { shape: inShape, data: backward(list, g, x.length) }, 1e-6, `${what} gradient`);
      const [, tangent] = vg.jvp(f, [at(x, inShape)], [at(t, inShape)]);
      await assertClose(tangent, { shape: outShape, data: dy }, 1e-6, `${what} tangent`);
      // The Hessian of sum(g y^2) / 2 along t is the adjoint of g dy.
      const loss = (z: Tensor): Tensor => f(z).square().mul(at(g, outShape)).sum().mul(0.5);
      const [hv] = vg.hvp(loss, [at(x, inShape)], [at(t, inShape)]);
      const product = backward(
        list,
        dy.map((v, i) => v * g[i]),
        x.length,
      );
      await assertClose(hv, { shape: inShape, data: product }, 1e-6, `${what} Hessian`);
      // The gradient is linear in the cotangent: its own derivative is the tangent map.
      const gradient = (c: Tensor): Tensor => vg.vjp(f, [at(x, inShape)])[1](c)[0];
      const [, outer] = vg.vjp(gradient, [at(g, outShape)]);
      await assertClose(outer(at(t, inShape))[0], { shape: outShape, data: dy }, 1e-6, `${what} adjoint's adjoint`);
    });
  }
}

test("maxPool2d() and avgPool2d() take one number for all axes, and the kernel as default stride", async () => {
  const x = tensor([1, 5, 2, 0, 3, 4, 8, 1, 9, 7, 6, 2], { shape: [1, 1, 3, 4] });
  assert.equal(await vg.maxPool2d(x, { kernel: 2 }).array(), [[[[5, 8]]]]);
  assert.equal(await vg.avgPool2d(x, { kernel: 2 }).array(), [[[[3.25, 2.75]]]]);
  const padded = await vg.avgPool2d(x, { kernel: 2, stride: [1, 2], padding: 1 }).array() as number[][][][];
  assert.equal(padded[0][0][0], [0.25, 1.75, 0]);
});

test("vjp() of maxPool2d gives equal values' gradient to the first of them", async () => {
  const x = vg.zeros([1, 1, 3, 3]);
  const dx = vg.grad((z: Tensor) => vg.maxPool2d(z, { kernel: 2, stride: 1 }).sum())(x);
  assert.equal(await dx.array(), [
    [
      [
        [1, 1, 0],
        [1, 1, 0],
        [0, 0, 0],
      ],
    ],
  ]);
  // Padding is below every value, the lowest included; 0 and -0 are equal.
  const low = tensor(new Float32Array(4).fill(-Infinity), { shape: [1, 1, 2, 2] });
  const options = { kernel: 2, stride: 2, padding: 1 };
  assert.equal([...(await vg.maxPool2d(low, options).data())], [-Infinity, -Infinity, -Infinity, -Infinity]);
  const signed = tensor([-0, 0], { shape: [1, 1, 1, 2] });
  const first = vg.grad((z: Tensor) => vg.maxPool2d(z, { kernel: [1, 2] }).sum())(signed);
  assert.equal([...(await first.data())], [1, 0]);
});

test("maxPool2d() passes NaN through and gives it the gradient", async () => {
  const x = tensor([1, NaN, 3, 4, 5, Infinity, 7, 8], { shape: [1, 1, 2, 4] });
  assert.equal([...(await vg.maxPool2d(x, { kernel: 2 }).data())], [NaN, 8]);
  const [, pullback] = vg.vjp((z: Tensor) => vg.maxPool2d(z, { kernel: 2 }), [x]);
  assert.equal([...(await pullback(tensor([2, 3], { shape: [1, 1, 1, 2] }))[0].data())], [0, 2, 0, 0, 0, 0, 0, 3]);
  assert.equal([...(await vg.avgPool2d(x, { kernel: 2 }).data())], [NaN, 5.5]);
});

test("avgPool3d() over the whole volume keeps its precision", async () => {
  const x = vg.full([1, 1, 64, 64, 64], 0.1);
  assert.ok(Math.abs((await vg.avgPool3d(x, { kernel: 64 }).item()) - 0.1) < 1e-7);
});

test("vmap() of maxPool2d and avgPool2d is a loop over examples", async () => {
  const x = tensor(noise(3 * 2 * 5 * 6), { shape: [3, 1, 2, 5, 6] });
  const options = { kernel: 3, stride: 2, padding: 1 };
  for (const f of [vg.maxPool2d, vg.avgPool2d]) {
    const one = (z: Tensor): Tensor => f(z, options);
    const slope = (z: Tensor): Tensor => vg.grad((y: Tensor) => one(y).square().sum())(z);
    for (const g of [one, slope]) {
      const parts = [0, 1, 2].map((k) => g(x.slice({ start: [k], end: [k + 1] }).reshape({ shape: [1, 2, 5, 6] })));
      const wanted = vg.stack(parts);
      await assertClose(vg.vmap(g)(x), { shape: wanted.shape, data: await wanted.data() }, 1e-6, "vmap");
    }
  }
});

test("maxPool3d() and avgPool3d() agree in parts where a tensor is larger than a binding", async () => {
  const shape = [2, 3, 8, 8, 8];
  const x = noise(2 * 3 * 512, 7);
  const values = async (): Promise<number[][]> => {
    const run = (f: typeof vg.maxPool3d): [Tensor, Tensor] => {
      const [y, pullback] = vg.vjp((z: Tensor) => f(z, { kernel: 3, stride: 2, padding: 1 }), [tensor(x, { shape })]);
      return [y, pullback(y)[0]];
    };
    return Promise.all([...run(vg.maxPool3d), ...run(vg.avgPool3d)].map(async (t) => [...(await t.data())]));
  };
  const whole = await values();
  await vg.closeDevice();
  await vg.openDevice({ maxBindingBytes: 4 * 1024 });
  assert.equal(await values(), whole);
  const refusal = await vg
    .maxPool3d(vg.ones([2, 1, 16, 16, 16]), { kernel: 2 })
    .data()
    .catch((e: Error) => e.message);
  assert.match(String(refusal), /^maxPool: a tensor of 8192 elements does not split into parts of 1024/);
  await vg.closeDevice();
});

test("maxPool2d() throws on bad arguments", () => {
  const x = vg.zeros([1, 1, 4, 4]);
  const call = vg.maxPool2d as (...args: any[]) => Tensor;
  refuses(() => call([1], { kernel: 2 }), /^maxPool2d: the input is a non-empty f32 tensor \[N, C, H, W\], got \[1\]/);
  refuses(() => call(x), /options are an object/);
  refuses(() => call(x, {}), /kernel is an integer >= 1 or 2 of them, got undefined/);
  refuses(() => call(x, { kernel: [2, 2, 2] }), /kernel is an integer/);
  refuses(() => call(x, { kernel: 2, stride: 0 }), /stride is an integer >= 1/);
  refuses(() => call(x, { kernel: 2, padding: -1 }), /padding is an integer >= 0/);
  refuses(() => call(x, { kernel: 3, padding: 2 }), /padding is at most half the kernel \[3, 3\], got \[2, 2\]/);
  refuses(() => call(x, { kernel: 5 }), /kernel \[5, 5\] does not fit the padded input \[1, 1, 4, 4\]/);
  refuses(() => call(x, { kernel: 2, dilation: 2 }), /unknown option "dilation"; it takes kernel, stride, padding/);
  refuses(() => call(x.cast("i32"), { kernel: 2 }), /non-empty f32 tensor/);
  refuses(() => vg.avgPool3d(x, { kernel: 2 }), /^avgPool3d: .*\[N, C, D, H, W\]/);
});

test.after(vg.closeDevice);
test.run();
