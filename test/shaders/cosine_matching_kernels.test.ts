/**
 * Every variant of the matching kernel against float64 loops: odd sizes, samples and groups, one prototype and many.
 */
import { test } from "uvu";
import * as assert from "uvu/assert";
import {
  type CosineMatchingParams,
  cosineMatchingVariants,
  lowerCosineMatching,
} from "../../shaders/cosine_matching.wgsl.ts";
import { closeRunner, openRunner, runLowered } from "../helpers/conv_kernel_runner.ts";
import { relativeError } from "../helpers/compare.ts";
import { noise } from "../helpers/noise.ts";
import { matching, type MatchingInputs } from "../helpers/reference/matching.ts";

const runner = await openRunner();

/** The rows, and how far from the reference the worst is, relative to the largest value of its kind. */
async function errorOf(variant: string, p: CosineMatchingParams, given: MatchingInputs): Promise<number> {
  // What a GPU takes runs here too.
  const target = { ...runner.target, software: variant !== "workgroup" };
  const total = p.groups * p.samples;
  const flags = new Float32Array(Uint32Array.from(given.used, Number).buffer);
  const lowered = lowerCosineMatching(p, target, variant);
  const { output } = await runLowered(runner, lowered, [given.query, given.prototypes, flags], total * 4 * p.pixels);
  const row = (data: ArrayLike<number>, rows: number, k: number): number[] =>
    Array.from({ length: total * p.pixels }, (_, i) => {
      const [sample, pixel] = [Math.floor(i / p.pixels), i % p.pixels];
      return data[(sample * rows + k) * p.pixels + pixel];
    });
  const wanted = matching(p, given);
  const top = row(output, 4, 1);
  const log = row(output, 4, 2).map((v, i) => Math.log(v) + top[i]);
  return Math.max(
    relativeError(row(output, 4, 0), row(wanted, 3, 0)),
    relativeError(log, row(wanted, 3, 1)),
    relativeError(row(output, 4, 3), row(wanted, 3, 2)),
  );
}

const given = (p: CosineMatchingParams, used: (k: number) => boolean): MatchingInputs => ({
  query: noise(p.groups * p.samples * p.channels * p.pixels, 1),
  prototypes: noise(p.groups * p.prototypes * p.channels, 2),
  used: Array.from({ length: p.groups * p.prototypes }, (_, k) => used(k)),
});

const sizes = (
  groups: number,
  samples: number,
  channels: number,
  pixels: number,
  prototypes: number,
): CosineMatchingParams => ({ groups, samples, channels, pixels, prototypes, floor: 1e-8 });
const cases: readonly [CosineMatchingParams, (k: number) => boolean][] = [
  // Two blocks of channels, the last not whole; the last block of prototypes has 1 of 13 or of 4 rows less.
  [sizes(2, 3, 67, 37, 51), (k) => k % 3 !== 1],
  // Groups of four are whole, several blocks of 64 prototypes, one used in the last.
  [sizes(1, 2, 20, 68, 132), (k) => k === 131],
  // All but a few in the first block.
  [sizes(1, 1, 5, 301, 65), (k) => k < 3],
];
// Sums of up to 67 products, likenesses of up to 5: f32 keeps 1e-6 of them, and the exponential makes no more of it.
const TOLERANCE = 3e-6;

for (const { name } of cosineMatchingVariants) {
  if (name === "tile_shared" && !runner.target.features.has("subgroups")) continue;
  test(`lowerCosineMatching() agrees with float64 at odd sizes, samples and groups: ${name}`, async () => {
    for (const [p, used] of cases) {
      const error = await errorOf(name, p, given(p, used));
      assert.ok(error < TOLERANCE, `${JSON.stringify(p)}: ${error}`);
    }
  });
}

test("lowerCosineMatching() takes one prototype, one pixel and one channel", async () => {
  for (const p of [sizes(1, 1, 1, 1, 1), sizes(3, 1, 2, 1, 1), sizes(1, 2, 3, 5, 6)]) {
    const error = await errorOf(
      "tile",
      p,
      given(p, () => true),
    );
    assert.ok(error < TOLERANCE, `${JSON.stringify(p)}: ${error}`);
  }
});

test("lowerCosineMatching() for a GPU, one pixel an invocation, agrees with that for a CPU", async () => {
  const p = sizes(2, 2, 9, 11, 7);
  const { query, prototypes, used } = given(p, (k) => k % 2 === 0);
  const flags = new Float32Array(Uint32Array.from(used, Number).buffer);
  const outputs = await Promise.all(
    [true, false].map(async (software) => {
      const lowered = lowerCosineMatching(p, { ...runner.target, software }, "tile");
      return (await runLowered(runner, lowered, [query, prototypes, flags], 4 * 4 * 11)).output;
    }),
  );
  assert.ok(relativeError(outputs[0], outputs[1]) < 1e-6);
});

test.after(() => closeRunner(runner));
test.run();
