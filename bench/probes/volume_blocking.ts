// How long reading and writing a gzipped scan keeps other tasks waiting: the longest gap of a timer of 5 ms, by the
// functions that work in one piece (readNifti, writeNifti) and by those that stream (readVolume, writeVolume).
// node --import ./engine/platform/cli/register.mjs bench/probes/volume_blocking.ts [SIZE]
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeVolume, readNifti, readVolume, scaling, writeNifti, writeVolume } from "../../engine/imaging/mod.ts";
import { platform } from "../../engine/platform/node.ts";

const size = Number(process.argv[2] ?? 256);
const data = new Int16Array(size ** 3);
// Tissue with noise of a few units, as in CT.
for (let i = 0, seed = 1; i < data.length; i++) {
  seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
  data[i] = 400 * Math.sin((i % size) / 40) + ((seed >>> 24) - 128) / 16;
}
const volume = makeVolume(data, { shape: [size, size, size], affine: scaling([1, 1, 1]), name: "scan" });
const folder = await mkdtemp(join(tmpdir(), "voxgrad-blocking-"));
const path = join(folder, "scan.nii.gz");

async function measure(name: string, work: () => unknown): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 200));
  let [latest, gap] = [performance.now(), 0];
  const mark = (): void => {
    gap = Math.max(gap, performance.now() - latest);
    latest = performance.now();
  };
  const timer = setInterval(mark, 5);
  const started = performance.now();
  await work();
  const took = performance.now() - started;
  await new Promise((resolve) => setTimeout(resolve, 20));
  mark();
  clearInterval(timer);
  console.log(`${name}: ${took.toFixed(0)} ms, longest gap ${gap.toFixed(0)} ms`);
}

for (let round = 0; round < 2; round++) {
  await measure("write in one piece", async () => platform.writeFile(path, writeNifti(volume, { gzip: true })));
  await measure("read in one piece ", async () => readNifti(await platform.readFile(path), path));
  await measure("write streamed    ", () => writeVolume(path, volume));
  await measure("read streamed     ", () => readVolume(path));
}
await rm(folder, { recursive: true });
