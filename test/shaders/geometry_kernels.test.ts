/**
 * Kernels of distances, components and holes as they are made for adapters at hand and for others: GPUs, whose
 * invocations take few voxels, and grids that are folded because a dimension has few workgroups.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { lowerComponents, lowerFillHoles } from "../../shaders/mask/connected_components.wgsl.ts";
import { lowerDistanceTransform } from "../../shaders/mask/distance_transform.wgsl.ts";
import type { Lowered, Target } from "../../shaders/types.ts";
import { closeRunner, openRunner, runLowered, type Runner } from "../helpers/conv_kernel_runner.ts";
import { components, distances, filled, randomMask, type Size, snake } from "../helpers/reference/geometry.ts";

let runner: Runner;
test.before(async () => {
  runner = await openRunner();
});
test.after(() => closeRunner(runner));

const targets = (): [string, Target][] => [
  ["software", runner.target],
  ["hardware", { ...runner.target, software: false }],
  ["folded", { ...runner.target, maxWorkgroupsPerDimension: 3 }],
  ["folded hardware", { ...runner.target, software: false, maxWorkgroupsPerDimension: 5 }],
];

/** Two masks in a batch, so that neither sees the other. */
const cases: [string, Size, Uint8Array][] = [
  ["random", [9, 14, 77], randomMask(2 * 9 * 14 * 77, 0.35, 7)],
  ["dense", [9, 14, 77], randomMask(2 * 9 * 14 * 77, 0.97, 8)],
  ["short lines", [61, 40, 1], randomMask(2 * 61 * 40, 0.6, 9)],
  ["paths", [30, 30, 30], Uint8Array.from([...snake(30), ...snake(30).reverse()])],
];

async function run(lowered: Lowered, mask: Uint8Array): Promise<Float32Array> {
  const words = new Float32Array(Uint32Array.from(mask).buffer);
  return (await runLowered(runner, lowered, [words], mask.length)).output;
}

/** `reference` of each of the two masks, one after the other. */
const both = (mask: Uint8Array, reference: (half: Uint8Array) => ArrayLike<number>): number[] => [
  ...Array.from(reference(mask.slice(0, mask.length / 2))),
  ...Array.from(reference(mask.slice(mask.length / 2))),
];

for (const [name, size, mask] of cases) {
  test(`lowerDistanceTransform(), lowerComponents() and lowerFillHoles() agree with a loop: ${name}`, async () => {
    const spacing = [2, 1, 3] as const;
    const distance = both(mask, (half) => distances(half, size, spacing));
    const parts = ([6, 18, 26] as const).map(
      (n, k) => [n, both(mask, (half) => components(half, size, k + 1))] as const,
    );
    const holes = ([2, 3] as const).map((axes) => {
      const planes: Size = axes === 2 ? [1, size[1], size[2]] : size;
      const length = planes[0] * planes[1] * planes[2];
      const wanted = Array.from(
        { length: mask.length / length },
        (_, k) => Array.from(filled(mask.slice(k * length, (k + 1) * length), planes, axes)),
      );
      return [axes, planes, wanted.flat()] as const;
    });
    for (const [label, target] of targets()) {
      const p = { batch: 2, size, float: false };
      const got = await run(lowerDistanceTransform({ ...p, spacing }, target), mask);
      assert.ok(
        distance.every((d, i) => Math.abs(got[i] - d) <= 1e-6 * d),
        `${label}: distances`,
      );
      for (const [connectivity, wanted] of parts) {
        const labels = new Int32Array((await run(lowerComponents({ ...p, connectivity }, target), mask)).buffer);
        assert.ok(
          wanted.every((v, i) => labels[i] === v),
          `${label}: components by ${connectivity}`,
        );
      }
      for (const [axes, planes, wanted] of holes) {
        const batch = mask.length / (planes[0] * planes[1] * planes[2]);
        const lowered = lowerFillHoles({ batch, size: planes, axes, float: false }, target);
        const words = new Uint32Array((await run(lowered, mask)).buffer);
        assert.ok(
          wanted.every((v, i) => words[i] === v),
          `${label}: holes along ${axes} axes`,
        );
      }
    }
  });
}

test("lowerDistanceTransform() and others never exceed the limit on workgroups", () => {
  const size: Size = [512, 1024, 1024];
  for (const software of [true, false]) {
    const target = { ...runner.target, software, maxWorkgroupsPerDimension: 65535 };
    const p = { batch: 1, size, float: false };
    for (
      const { dispatches } of [
        lowerDistanceTransform({ ...p, spacing: [1, 1, 1] }, target),
        lowerComponents({ ...p, connectivity: 26 }, target),
        lowerFillHoles({ ...p, axes: 3 }, target),
      ]
    ) {
      for (const { kernel } of dispatches) {
        assert.ok(
          kernel.workgroups.every((n) => n <= 65535),
          kernel.name,
        );
      }
    }
  }
});

test.run();
