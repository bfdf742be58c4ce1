/** What distanceTransform, connectedComponents and fillHoles take and refuse, and how they combine with the rest. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { assertSame, components, count, distances, filled, randomMask, volume } from "../helpers/reference/geometry.ts";
import { elementError } from "../helpers/compare.ts";

test("connectedComponents() takes masks of every dtype: nonzero and NaN are inside, -0 is outside", async () => {
  const shape = [2, 4];
  const row = [0, 3, 1, 0, 5, 0, 7, 2];
  const wanted = [0, 1, 1, 0, 2, 0, 1, 1];
  const masks = [
    vg.tensor(
      Int32Array.from(row, (v) => -v),
      { shape },
    ),
    vg.tensor(
      Uint32Array.from(row, (v) => v * 2 ** 29),
      { shape },
    ),
    vg.tensor(
      Uint8Array.from(row, (v) => Number(v > 0)),
      { shape },
    ),
    vg.tensor(Float32Array.from([-0, NaN, 1e-40, 0, -Infinity, -0, 0.1, -2]), { shape }),
  ];
  for (const mask of masks) {
    assertSame(await vg.connectedComponents(mask).data(), wanted, mask.dtype);
    assertSame(
      await vg.fillHoles(mask).data(),
      wanted.map((v) => Math.min(v, 1)),
      mask.dtype,
    );
    assert.equal(
      [...(await vg.distanceTransform(mask).data())],
      wanted.map((v) => Math.min(v, 1)),
    );
  }
});

test("distanceTransform() and others are the same bits inside other operators and compiled functions", async () => {
  const shape = [17, 23, 30];
  const values = randomMask(count(shape), 0.55, 3);
  const x = vg.tensor(
    Float32Array.from(values, (v) => v * 3 - 1),
    { shape },
  );
  // The largest distance of each part to the outside of the filled mask.
  const f = vg.compile((image: vg.Tensor) => {
    const mask = vg.fillHoles(image.greater(0));
    return [vg.connectedComponents(mask).add(0), vg.distanceTransform(mask).square()];
  });
  const mask = filled(values, volume(shape), 3);
  for (let k = 0; k < 3; k++) {
    const [labels, squares] = (await f(x)) as vg.Tensor[];
    assertSame(await labels.data(), components(mask, volume(shape), 1), "labels");
    const wanted = distances(mask, volume(shape), [1, 1, 1]).map((d) => d * d);
    assert.ok(elementError(await squares.data(), wanted) < 1e-6);
  }
});

test("vmap() of distanceTransform, connectedComponents and fillHoles is a loop over masks", async () => {
  const shape = [3, 2, 9, 11];
  const x = vg.tensor(randomMask(count(shape), 0.6, 5), { shape });
  const operators: [string, (mask: vg.Tensor) => vg.Tensor][] = [
    ["distanceTransform", (mask) => vg.distanceTransform(mask, { spacing: 1.5 })],
    ["connectedComponents", (mask) => vg.connectedComponents(mask)],
    ["fillHoles", (mask) => vg.fillHoles(mask)],
  ];
  const part = (k: number): vg.Tensor =>
    vg.squeeze(vg.slice(x, { start: [k, 0, 0, 0], end: [k + 1, 2, 9, 11] }), { axes: [0] });
  for (const [name, f] of operators) {
    const loop = vg.stack([0, 1, 2].map((k) => f(part(k))));
    assertSame(await vg.vmap(f)(x).data(), await loop.data(), name);
    const planes = vg.stack(
      [0, 1, 2].map((k) =>
        vg.stack(
          [0, 1].map((j) => f(vg.squeeze(vg.slice(part(k), { start: [j, 0, 0], end: [j + 1, 9, 11] }), { axes: [0] }))),
        )
      ),
    );
    assertSame(await vg.vmap(vg.vmap(f))(x).data(), await planes.data(), `${name} of planes`);
  }
});

test("distanceTransform(), connectedComponents() and fillHoles() of empty masks are empty", async () => {
  for (
    const shape of [
      [0, 3, 4],
      [2, 0],
      [5, 4, 0],
    ]
  ) {
    const mask = vg.zeros(shape, { dtype: "bool" });
    for (const y of [vg.distanceTransform(mask), vg.connectedComponents(mask), vg.fillHoles(mask)]) {
      assert.equal([...y.shape], shape);
      assert.is((await y.data()).length, 0);
    }
  }
});

test("distanceTransform() and others throw on bad arguments and have no derivative", () => {
  const plane = vg.zeros([3, 4]);
  const line = vg.zeros([3]);
  const refused: [() => unknown, RegExp][] = [
    [() => vg.distanceTransform([[1]] as never), /^distanceTransform: the mask is a tensor/],
    [
      () => vg.distanceTransform(line),
      /^distanceTransform: the mask is a tensor \[H, W\] or \[D, H, W\], got Tensor\(f32\[3\]\)/,
    ],
    [() => vg.connectedComponents(vg.zeros([1, 1, 2, 2])), /^connectedComponents: .*use vmap for a batch/],
    [() => vg.fillHoles(undefined as never), /^fillHoles: the mask .* got undefined/],
    [() => vg.distanceTransform(plane, { sampling: 1 } as never), /unknown option "sampling"; it takes spacing/],
    [() => vg.distanceTransform(plane, null as never), /^distanceTransform: options/],
    ...[0, -1, NaN, Infinity, 1e18, [1], [1, 2, 3], [1, "2"], "1", null].map((spacing): [() => unknown, RegExp] => [
      () => vg.distanceTransform(plane, { spacing: spacing as never }),
      /^distanceTransform: spacing is a number or 2 of them/,
    ]),
    ...[6, 26, "4", [4], null].map((connectivity): [() => unknown, RegExp] => [
      () => vg.connectedComponents(plane, { connectivity: connectivity as never }),
      /^connectedComponents: connectivity of a mask of rank 2 is 4 or 8/,
    ]),
    [() => vg.connectedComponents(vg.zeros([1, 2, 2]), { connectivity: 8 }), /rank 3 is 6 or 18 or 26, got 8/],
    [() => vg.fillHoles(plane, { connectivity: 4 } as never), /^fillHoles: unknown option "connectivity"/],
    [
      () => vg.grad((x: vg.Tensor) => vg.distanceTransform(x).sum())(plane),
      /^distanceTransform: is not differentiable/,
    ],
    [() => vg.jvp((x: vg.Tensor) => vg.distanceTransform(x), [plane], [plane]), /^distanceTransform: has no forward/],
  ];
  for (const [f, message] of refused) {
    assert.throws(f, (error: unknown) => error instanceof vg.VoxgradError && message.test(error.message), `${message}`);
  }
});

test.after(() => vg.closeDevice());
test.run();
