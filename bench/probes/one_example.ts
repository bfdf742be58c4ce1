// How well One example of the page finds an organ from slices that a scripted hand paints from its label: one slice,
// three, and three with one corrected; by similarity alone, with the place of painted slices, and by place alone.
// `VOXGRAD_ADAPTER=lavapipe node --import ./engine/platform/cli/register.mjs bench/probes/one_example.ts ct.nii.gz spleen_seg.nii.gz`
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { closeDevice } from "../../engine/mod.ts";
import { metrics } from "../../engine/imaging/mod.ts";
import { read } from "../../scripts/app/tasks/labels.ts";
import { find, labels, open as openEncoder } from "../../scripts/app/tasks/one_shot.ts";
import { open } from "../../scripts/app/tasks/scans.ts";
import { paintedAxis, slicesOf, stridesOf } from "../../scripts/app/slices.ts";

const [scanPath, labelPath, encoderPath = "scripts/app/first/encoder.safetensors"] = process.argv.slice(2);
if (labelPath === undefined) throw new Error("name a scan and its label map of one class");
const fileOf = async (path: string): Promise<File> => new File([await readFile(path)], basename(path));

const { id: scan, shown: { shape, spacing } } = await open({ files: [{ file: await fileOf(scanPath) }] });
const { labels: truth } = await read({ scan, file: await fileOf(labelPath) });
const file = await fileOf(encoderPath);
const { id: encoder } = await openEncoder({ place: { files: [{ file, path: file.name }] } });
const axis = paintedAxis(spacing);
const stride = stridesOf(shape)[axis];
const sliceOf = (i: number): number => Math.floor(i / stride) % shape[axis];
const work = { signal: new AbortController().signal, tell: () => undefined };
const dice = (found: Uint8Array): number => metrics.dice(found, truth, { label: 1 })!;

/** Looks for the class by slices, and gives the labels with and without the place. */
async function found(slices: readonly number[], corrected: readonly number[]) {
  const painted = Uint8Array.from(truth, (value, i) => (slices.includes(sliceOf(i)) ? value : 0));
  const { seconds } = await find({ encoder, scan, examples: [{ scan, labels: painted }] }, work);
  const options = { scan, threshold: 0.5, range: [0, shape[axis] - 1] as const, corrected };
  const placed = (await labels({ ...options, near: true })).labels;
  const similar = (await labels({ ...options, near: false })).labels;
  return { placed, similar, seconds };
}

const shown = slicesOf(truth, shape, axis, 1);
const at = (share: number): number => shown[Math.round(share * (shown.length - 1))];
const tell = (
  name: string,
  slices: readonly number[],
  { placed, similar, seconds }: Awaited<ReturnType<typeof found>>,
) =>
  console.log(
    `${name} (${slices.map((slice) => slice + 1).join(", ")}): Dice ${dice(placed).toFixed(3)}, by similarity alone ` +
      `${dice(similar).toFixed(3)}, in ${seconds.toFixed(1)} s`,
  );
const one = [at(0.5)];
tell("one slice", one, await found(one, []));
const three = [at(0.1), at(0.5), at(0.9)];
const first = await found(three, []);
tell("three slices", three, first);
// The slice with most wrong voxels is corrected.
const wrong = shown.map((slice) =>
  truth.reduce((sum, value, i) => sum + Number(sliceOf(i) === slice && value !== first.placed[i]), 0)
);
const worst = shown[wrong.indexOf(Math.max(...wrong))];
tell("three and one corrected", [...three, worst], await found([...three, worst], [worst]));
await closeDevice();
