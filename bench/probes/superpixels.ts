// Superpixels of slices against scikit-image, which runs on the same slices in turn, each on one core:
// `node --import ./engine/platform/cli/register.mjs bench/probes/superpixels.ts --slices 100`.
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { felzenszwalb, organPhantomCase } from "../../engine/imaging/mod.ts";

const { values } = parseArgs({
  options: {
    slices: { type: "string", default: "100" },
    side: { type: "string", default: "256" },
    rounds: { type: "string", default: "3" },
    seed: { type: "string", default: "1" },
  },
});
const [slices, side, rounds, seed] = [values.slices, values.side, values.rounds, values.seed].map(Number) as [
  number,
  number,
  number,
  number,
];
const SETTINGS = { scale: 1, sigma: 1, minSize: 400 } as const;

// Prints its seconds; the segments go to a file.
const PEER = `
import os, sys, time
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"): os.environ[name] = "1"
import numpy as np
from skimage.segmentation import felzenszwalb
folder, count, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
images = np.fromfile(folder + "/slices.f32", dtype=np.float32).reshape(count, side, side).astype(float)
start = time.perf_counter()
out = [felzenszwalb(image, scale=${SETTINGS.scale}, sigma=${SETTINGS.sigma}, min_size=${SETTINGS.minSize}) for image in images]
print(time.perf_counter() - start)
np.array(out, dtype=np.int32).tofile(folder + "/segments.i32")
`;

const { image } = organPhantomCase({ seed, shape: [side, side, slices], spacing: [1.5, 1.5, 3], distinct: true });
// Scaled to 0..255, as in the few-shot training.
const top = (image.data as Int16Array).reduce((a, b) => Math.max(a, b), 0);
const pixels = Float32Array.from(image.data as Int16Array, (v) => (Math.max(0, v) / top) * 255);
const folder = await mkdtemp(join(tmpdir(), "voxgrad-superpixels-"));
const python = process.env.VOXGRAD_PYTHON ?? "/usr/bin/python3";
try {
  await writeFile(join(folder, "slices.f32"), pixels);
  await writeFile(join(folder, "peer.py"), PEER);
  const parts = Array.from({ length: slices }, (_, z) => pixels.subarray(z * side * side, (z + 1) * side * side));
  const times: { ours: number; theirs: number }[] = [];
  let segments: ArrayLike<number>[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    segments = parts.map((part) => felzenszwalb(part, { shape: [side, side], ...SETTINGS }));
    const ours = (performance.now() - started) / 1000;
    const peer = spawnSync(python, [join(folder, "peer.py"), folder, `${slices}`, `${side}`], { encoding: "utf8" });
    if (peer.status !== 0) throw new Error(`${python}: ${peer.stderr || peer.error}; scikit-image is wanted`);
    times.push({ ours, theirs: Number(peer.stdout) });
    console.log(`round ${round + 1}: voxgrad ${ours.toFixed(2)} s, scikit-image ${Number(peer.stdout).toFixed(2)} s`);
  }
  // Segments are numbered differently there: renumber both by their first pixel.
  const numbered = (labels: ArrayLike<number>): number[] => {
    const numbers = new Map<number, number>();
    return Array.from(labels, (label) => numbers.get(label) ?? (numbers.set(label, numbers.size), numbers.size - 1));
  };
  const theirs = new Int32Array(new Uint8Array(await readFile(join(folder, "segments.i32"))).buffer);
  const alike = segments.filter((labels, z) => {
    const wanted = numbered(theirs.subarray(z * side * side, (z + 1) * side * side));
    return numbered(labels).every((label, k) => label === wanted[k]);
  });
  console.log(`${alike.length} of ${slices} slices have the same segments`);
  const ratios = times.map(({ ours, theirs }) => ours / theirs).sort((a, b) => a - b);
  console.log(
    `${slices} slices of ${side} x ${side}: ratio ${
      ratios[Math.floor(ratios.length / 2)].toFixed(2)
    } (median of ${rounds} rounds)`,
  );
} finally {
  await rm(folder, { recursive: true });
}
