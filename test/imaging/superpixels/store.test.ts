/** Superpixels of prepared cases: made once, in threads, kept on disk. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as imaging from "../../../engine/imaging/mod.ts";

const [D, H, W] = [3, 23, 17] as const;
const SIZE = H * W;

/** Two bright blobs in each slice, the larger one with a dark hole, over a dark ground; the last slice is dark. */
function made(seed: number): Float32Array<ArrayBuffer> {
  const prng = new imaging.Prng(seed);
  return Float32Array.from({ length: D * SIZE }, (_, i) => {
    const [z, y, x] = [Math.floor(i / SIZE), Math.floor(i / W) % H, i % W];
    const big = (y - 12 - z) ** 2 + (x - 7) ** 2;
    const small = (y - 3) ** 2 + (x - 13) ** 2;
    const inside = z < 2 && ((big < 49 && big > 5) || small < 6);
    // The lowest value sets the scale.
    return i === 0 ? -2 : inside ? 1 + prng.uniform() + (x > 7 ? 1 : 0) : -1.8 + 0.1 * prng.uniform();
  });
}

test("openSuperpixels() makes each case once, in threads too, and again when something has changed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "voxgrad-superpixels-"));
  try {
    const item = (id: string, seed: number) =>
      ({
        id,
        image: made(seed),
        label: new Uint8Array(D * SIZE),
        channels: 1,
        shape: [D, H, W],
        spacing: [1, 1, 1],
        foreground: [],
      }) as const;
    const source = (seed: number) => imaging.inMemory([item("a", 1), item("b", seed), item("c", 3)]);
    const options = { folder, minSize: 12, threshold: 60 };
    const open = async (seed: number, more: object = {}) => {
      const found = await imaging.openSuperpixels(source(seed), { ...options, ...more });
      return [found.made, found.kept, found] as const;
    };
    const [made1, kept1, first] = await open(2, { workers: 2 });
    assert.equal([made1, kept1], [3, 0]);
    // Of the values from 0 to 255.
    const image = made(2);
    const [low, high] = [Math.min(...image), Math.max(...image)];
    const scaled = Float64Array.from(image, (value) => (value - low) * (255 / (high - low)));
    const { labels } = imaging.superpixels(scaled, { shape: [D, H, W], minSize: 12, threshold: 60 });
    assert.equal([...first.get("b")], [...labels]);
    assert.ok(new Set(labels).size > 3);
    assert.throws(() => first.get("d"), /no case d among the 3/);
    const [made2, kept2, second] = await open(2);
    assert.equal([made2, kept2], [0, 3]);
    assert.equal(second.get("c"), first.get("c"));
    assert.equal((await open(9)).slice(0, 2), [1, 2]);
    assert.equal((await open(9, { minSize: 20 })).slice(0, 2), [3, 0]);
    const file = join(folder, "a.safetensors");
    await writeFile(file, (await readFile(file)).subarray(0, 60));
    assert.equal((await open(9, { minSize: 20 })).slice(0, 2), [1, 2]);
    const broken = imaging.inMemory([{ ...item("bad", 1), image: new Float32Array(D * SIZE).fill(NaN) }]);
    const message = await imaging.openSuperpixels(broken, options).then(
      () => "",
      (error: Error) => `${error.name} ${error.message}`,
    );
    assert.match(message, /VoxgradError case bad: the image holds NaN/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test.run();
