// deno-lint-ignore-file no-explicit-any
/** gridSample against loops in float64. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { type Tensor, tensor } from "../../../engine/mod.ts";
import {
  dotOf,
  imageGradient,
  outShape,
  plus,
  type Problem,
  sampled,
  size,
} from "../../helpers/reference/grid_sample.ts";
import { assertClose } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

/** Coordinates in and around an image whose places stay away from kinks: whole voxels, halves of them, and the ends. */
function coordinates(p: Problem, seed: number, reach = 1.6): Float32Array {
  const space = p.image.slice(2);
  const random = noise(size(p.grid), seed);
  return random.map((r, k) => {
    const n = space[space.length - 1 - (k % space.length)];
    const quarter = Math.floor(((r * reach + 1) / 2) * n) + (k % 2 ? 0.3 : 0.8) - 0.5;
    return p.o.alignCorners ? (n === 1 ? 0.3 : (2 * quarter) / (n - 1) - 1) : (2 * quarter + 1) / n - 1;
  });
}

const at = (data: ArrayLike<number>, shape: number[]): Tensor => tensor(Float32Array.from(data), { shape });

const problems: Problem[] = [];
for (const padding of ["zeros", "border", "reflection"] as const) {
  for (const alignCorners of [false, true]) {
    for (const mode of ["linear", "nearest", "cubic"] as const) {
      problems.push({ image: [2, 3, 5, 7], grid: [2, 6, 3, 2], o: { mode, padding, alignCorners } });
    }
    // Kernels of three dimensions take long to compile.
    for (const mode of alignCorners ? (["linear"] as const) : (["linear", "nearest"] as const)) {
      problems.push({ image: [2, 2, 3, 1, 6], grid: [2, 3, 2, 5, 3], o: { mode, padding, alignCorners } });
    }
  }
}

for (const p of problems) {
  const { mode, padding, alignCorners } = p.o;
  const what = `${p.image.length - 2}-D ${mode} ${padding} ${alignCorners ? "corners" : "edges"}`;
  const f = (x: Tensor, grid: Tensor): Tensor => vg.gridSample(x, grid, p.o);

  test(`gridSample() and its gradients agree with float64: ${what}`, async () => {
    const x = noise(size(p.image), 1);
    const grid = coordinates(p, 2);
    const g = noise(size(outShape(p)), 3);
    const [y, pullback] = vg.vjp(f, [at(x, p.image), at(grid, p.grid)]);
    const [dx, dGrid] = pullback(at(g, outShape(p)));
    await vg.evaluate([y, dx, dGrid]);
    await assertClose(y, { shape: outShape(p), data: sampled(p, x, grid) }, 1e-5, what);
    await assertClose(dx, { shape: p.image, data: imageGradient(p, g, grid) }, 1e-5, `${what} image gradient`);
    const e = 1e-5;
    const slopes = Float64Array.from(grid, (_, k) => {
      const unit = new Float64Array(grid.length);
      unit[k] = 1;
      return (dotOf(g, sampled(p, x, plus(grid, unit, e))) - dotOf(g, sampled(p, x, plus(grid, unit, -e)))) / (2 * e);
    });
    await assertClose(dGrid, { shape: p.grid, data: slopes }, 1e-5, `${what} grid gradient`);
  });
}

for (
  const p of problems.filter(
    ({ o, image }) => o.mode !== "nearest" && !o.alignCorners && (image.length === 4 || o.padding === "zeros"),
  )
) {
  const what = `${p.image.length - 2}-D ${p.o.mode} ${p.o.padding}`;
  const f = (x: Tensor, grid: Tensor): Tensor => vg.gridSample(x, grid, p.o);

  test(`jvp() and hvp() of gridSample agree with float64: ${what}`, async () => {
    const [x, tx, rx] = [1, 5, 6].map((seed) => noise(size(p.image), seed)) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    const grid = coordinates(p, 2);
    const [tg, rg] = [7, 8].map((seed) => noise(grid.length, seed)) as [Float32Array, Float32Array];
    const c = noise(size(outShape(p)), 9);
    const [X, G, TX, TG] = [at(x, p.image), at(grid, p.grid), at(tx, p.image), at(tg, p.grid)];
    const along = (e: number): Float64Array => sampled(p, plus(x, tx, e), plus(grid, tg, e));
    const e = 1e-4;
    const [, dy] = vg.jvp(f, [X, G], [TX, TG]);
    const slope = plus(along(e), along(-e), -1).map((v) => v / (2 * e));
    await assertClose(dy, { shape: outShape(p), data: slope }, 1e-5, `${what} tangent`);

    // Along r, the Hessian of sum(c y) + sum(y^2) / 2 times t is a mixed second difference.
    const value = (s: number, t: number): number => {
      const y = sampled(p, plus(plus(x, rx, s), tx, t), plus(plus(grid, rg, s), tg, t));
      return dotOf(c, y) + dotOf(y, y) / 2;
    };
    const wanted = (value(e, e) - value(e, -e) - value(-e, e) + value(-e, -e)) / (4 * e * e);
    const loss = (z: Tensor, h: Tensor): Tensor => {
      const y = f(z, h);
      return y
        .mul(at(c, outShape(p)))
        .sum()
        .add(y.square().sum().mul(0.5));
    };
    const forward = vg.hvp(loss, [X, G], [TX, TG]);
    const slopeAlong = ([z, h]: [Tensor, Tensor]): Tensor => {
      const [dz, dh] = vg.grad(([a, b]: [Tensor, Tensor]) => loss(a, b))([z, h]);
      return dz.mul(TX).sum().add(dh.mul(TG).sum());
    };
    const reverse = vg.grad(slopeAlong)([X, G]);
    for (
      const [how, [hx, hg]] of [
        ["hvp", forward],
        ["grad of grad", reverse],
      ] as [string, Tensor[]][]
    ) {
      const got = dotOf(await hx.data(), rx) + dotOf(await hg.data(), rg);
      assert.ok(Math.abs(got - wanted) < 2e-5 * Math.abs(wanted) + 1e-3, `${what} ${how}: ${got}, wanted ${wanted}`);
    }
  });
}

test("vjp() of gridSample is itself differentiable by the image", async () => {
  // It is linear in the cotangent, and its adjoint is the value along a tangent image.
  const p: Problem = {
    image: [2, 3, 5, 7],
    grid: [2, 4, 4, 2],
    o: { mode: "linear", padding: "border", alignCorners: true },
  };
  const grid = at(coordinates(p, 2), p.grid);
  const [x, t] = [noise(size(p.image), 1), noise(size(p.image), 4)];
  const gradient = (g: Tensor): Tensor => vg.vjp((z: Tensor) => vg.gridSample(z, grid, p.o), [at(x, p.image)])[1](g)[0];
  const g = at(noise(size(outShape(p)), 3), outShape(p));
  const [, pullback] = vg.vjp(gradient, [g]);
  const wanted = { shape: outShape(p), data: sampled(p, t, coordinates(p, 2)) };
  await assertClose(pullback(at(t, p.image))[0], wanted, 1e-5, "adjoint of the image gradient");
});

test("vjp() of gridSample is exact to rounding for crowded voxels, with the same bits every time", async () => {
  // Every third point is anywhere, the others share a place that f32 holds exactly: long sums among short ones.
  const p: Problem = {
    image: [2, 1, 9, 11],
    grid: [2, 140, 250, 2],
    o: { mode: "linear", padding: "zeros", alignCorners: false },
  };
  const grid = noise(size(p.grid), 3).map((v, k) => (Math.floor(k / 2) % 3 === 0 ? v * 1.2 : k % 2 ? 0.25 : -0.125));
  const g = noise(size(outShape(p)), 4).map((v) => v + 1);
  const gradient = (): Tensor =>
    vg.vjp((z: Tensor) => vg.gridSample(z, at(grid, p.grid), p.o), [vg.zeros(p.image)])[1](at(g, outShape(p)))[0];
  const first = gradient();
  await assertClose(first, { shape: p.image, data: imageGradient(p, g, grid) }, 1e-6, "crowded");
  assert.equal([...(await gradient().data())], [...(await first.data())]);
});

test("gridSample() takes channel counts that are not multiples of four", async () => {
  for (const channels of [1, 4, 5, 6]) {
    const p: Problem = {
      image: [1, channels, 4, 5],
      grid: [1, 9, 8, 2],
      o: { mode: "linear", padding: "zeros", alignCorners: false },
    };
    const grid = coordinates(p, 2);
    const g = noise(size(outShape(p)), 3);
    const [, pullback] = vg.vjp((z: Tensor) => vg.gridSample(z, at(grid, p.grid)), [vg.zeros(p.image)]);
    const wanted = { shape: p.image, data: imageGradient(p, g, grid) };
    await assertClose(pullback(at(g, outShape(p)))[0], wanted, 1e-5, `${channels} channels`);
  }
});

test("gridSample() takes coordinates that are not finite or far away", async () => {
  const x = tensor([1, 2, 3, 4, 5, 6], { shape: [1, 1, 2, 3] });
  const odd = [NaN, Infinity, -Infinity, 1e30, -1e30];
  const grid = at(
    odd.flatMap((v) => [v, -0.5]),
    [1, 1, 5, 2],
  );
  const expected = { zeros: [0, 0, 0, 0, 0], border: [1, 3, 1, 3, 1], reflection: [1, 1, 1, null, null] };
  for (const padding of ["zeros", "border", "reflection"] as const) {
    for (const mode of ["linear", "nearest", "cubic"] as const) {
      const [y, pullback] = vg.vjp((z: Tensor, h: Tensor) => vg.gridSample(z, h, { mode, padding }), [x, grid]);
      const [dx, dGrid] = pullback(vg.ones([1, 1, 1, 5]));
      await vg.evaluate([y, dx, dGrid]);
      const got = [...(await y.data())];
      expected[padding].forEach((v, k) => {
        // Where reflections of 1e30 end nobody can say in f32; somewhere in the image.
        if (v === null) assert.ok(got[k] >= 0.5 && got[k] <= 6.5, `${mode} ${padding} ${odd[k]}: ${got[k]}`);
        else if (mode !== "cubic" || padding === "zeros" || padding === "border") {
          assert.ok(Math.abs(got[k] - v) < 1e-5, `${mode} ${padding} ${odd[k]}: ${got[k]}, wanted ${v}`);
        }
      });
      assert.ok((await dx.data()).every(Number.isFinite), `${mode} ${padding} image gradient`);
      const slopes = await dGrid.data();
      for (const k of [0, 2, 4]) assert.is(slopes[k], 0, `${mode} ${padding} grid gradient of ${odd[k / 2]}`);
    }
  }
});

test("gridSample() with the grid of the identity returns the image", async () => {
  const shape = [2, 2, 3, 5, 4];
  const x = noise(size(shape), 1);
  const eye = tensor([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0], { shape: [1, 3, 4] });
  const theta = vg.concat([eye, eye], { axis: 0 });
  for (const alignCorners of [false, true]) {
    const grid = vg.affineGrid(theta, { size: shape, alignCorners });
    for (const padding of ["zeros", "border", "reflection"] as const) {
      const y = vg.gridSample(at(x, shape), grid, { alignCorners, padding });
      await assertClose(y, { shape, data: x }, 1e-5, `identity ${padding}`);
    }
  }
});

test("vmap() of gridSample is a loop over examples", async () => {
  const grid = at(noise(3 * 4 * 5 * 2, 2), [3, 1, 4, 5, 2]);
  const x = at(noise(3 * 2 * 6 * 7, 1), [3, 1, 2, 6, 7]);
  const pick = (t: Tensor, k: number): Tensor =>
    t.slice({ start: [k], end: [k + 1] }).reshape({ shape: t.shape.slice(1) });
  const value = (z: Tensor, h: Tensor): Tensor => vg.gridSample(z, h);
  const slope = (z: Tensor, h: Tensor): Tensor =>
    vg.concat(
      vg
        .vjp(value, [z, h])[1](vg.ones([1, 2, 4, 5]))
        .map((t: Tensor) => t.reshape({ shape: [-1] })),
      { axis: 0 },
    );
  for (const f of [value, slope]) {
    const wanted = vg.stack([0, 1, 2].map((k) => f(pick(x, k), pick(grid, k))));
    await assertClose(vg.vmap(f)(x, grid), { shape: wanted.shape, data: await wanted.data() }, 1e-5, "vmap");
    const one = pick(x, 1);
    const shared = vg.stack([0, 1, 2].map((k) => f(one, pick(grid, k))));
    const got = vg.vmap((h: Tensor) => f(one, h))(grid);
    await assertClose(got, { shape: shared.shape, data: await shared.data() }, 1e-5, "vmap of the grid alone");
  }
});

test("gridSample() agrees in parts where a tensor is larger than a binding", async () => {
  const shape = [1, 7, 10, 12];
  const values = async (): Promise<number[][]> => {
    const [grid, x] = [at(noise(8 * 9 * 2, 2), [1, 8, 9, 2]), at(noise(size(shape), 1), shape)];
    const [y, pullback] = vg.vjp((z: Tensor, h: Tensor) => vg.gridSample(z, h), [x, grid]);
    return Promise.all([y, ...pullback(y)].map(async (t) => [...(await t.data())]));
  };
  const whole = await values();
  await vg.closeDevice();
  await vg.openDevice({ maxBindingBytes: 3 * 1024 });
  assert.equal(await values(), whole);
  await vg.closeDevice();
});

test("gridSample() throws on bad arguments", () => {
  const x = vg.zeros([1, 2, 4, 4]);
  const grid = vg.zeros([1, 3, 3, 2]);
  const call = vg.gridSample as (...args: any[]) => Tensor;
  refuses(() => call([1], grid), /^gridSample: the image is a non-empty f32 tensor/);
  refuses(() => call(x.cast("i32"), grid), /the image is a non-empty f32 tensor/);
  refuses(() => call(x), /the grid is a non-empty f32 tensor of rank 4 .*got undefined/);
  refuses(() => call(x, vg.zeros([2, 3, 3, 2])), /the grid for .* is \[1, ...out, 2\]/);
  refuses(() => call(x, vg.zeros([1, 3, 3, 3])), /is \[1, ...out, 2\]/);
  refuses(() => call(x, vg.zeros([1, 3, 3, 3, 3])), /rank 4/);
  refuses(() => call(x, grid, { mode: "bilinear" }), /mode is "linear", "nearest" or "cubic", got "bilinear"/);
  refuses(() => call(x, grid, { padding: "edge" }), /padding is "zeros", "border" or "reflection", got "edge"/);
  refuses(() => call(x, grid, { alignCorners: 1 }), /alignCorners is true or false, got 1/);
  refuses(() => call(x, grid, { align: true }), /unknown option "align"/);
  refuses(
    () => call(vg.zeros([1, 1, 2, 2, 2]), vg.zeros([1, 2, 2, 2, 3]), { mode: "cubic" }),
    /mode "cubic" is for images/,
  );
});

test.after(vg.closeDevice);
test.run();
