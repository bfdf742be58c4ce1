/** A run folder from an untrusted source, with scripts injected everywhere. */
import { mkdir, writeFile } from "node:fs/promises";
import { compareLabels, Comparison, makeVolume, scaling } from "../../engine/imaging/mod.ts";
import { RunFolder, writeComparison, writeReport, writeTable } from "../../engine/train/mod.ts";

/** Pictures that set `hit` if a page lets them. */
export const HOSTILE = [
  `<svg xmlns="http://www.w3.org/2000/svg" onload="window.hit=1"><script>window.hit=2</script><rect width="9" height="9"/></svg>`,
  `<svg><foreignObject><body onload="window.hit=3"><iframe src="javascript:parent.hit=4"></iframe></body></foreignObject></svg>`,
  `<svg><image href="http://127.0.0.1:9/leak.png" onerror="window.hit=5"/><a href="javascript:window.hit=6"><text>x</text></a></svg>`,
  `<svg/><script>window.hit=7</script><img src=x onerror="window.hit=8">"'><script>window.hit=9</script>`,
];
const NAME = `"><script>window.hit=10</script><img src=x onerror=window.hit=11>`;

/** An untrusted run, with scripts injected everywhere. */
export async function hostileRun(path: string): Promise<void> {
  const run = new RunFolder(path);
  const names = [NAME, "</script><script>window.hit=12</script>"];
  await run.writeJson("config.json", {
    classes: names,
    options: { [NAME]: NAME },
    dataset: { name: NAME },
    network: NAME,
    device: { name: NAME, kind: NAME },
    parameters: NAME,
    splits: [],
    plan: {
      labels: ["b", ...names],
      batch: 1,
      patch: [1],
      spacing: [1],
      network: { features: [NAME], name: NAME },
      channels: [{ name: NAME, normalization: NAME }],
    },
  });
  await run.write("log.jsonl", `${JSON.stringify({ step: 1, loss: 1, rate: 1, dice: [0.5, 0.5], seconds: 1 })}\n`);
  await mkdir(`${path}/figures`, { recursive: true });
  for (const [k, svg] of HOSTILE.entries()) {
    await writeFile(`${path}/figures/${k}_<img onerror=window.hit=13 src=x>.svg`, svg);
  }
  await writeFile(`${path}/overlay.svg`, HOSTILE[0]);
  await writeTable(run, { name: "1", title: NAME, caption: NAME, headings: [NAME, "b"], rows: [[NAME, 2], ["z", 1]] });
  const volume = makeVolume(Uint8Array.from([1, 1, 0, 2, 0, 0, 0, 0]), {
    shape: [2, 2, 2],
    affine: scaling([1, 1, 1]),
    name: "map",
  });
  const found = compareLabels(volume, volume, { classes: names.map((name, k) => ({ name, values: [k + 1] })) });
  await writeComparison(
    run,
    new Comparison([{ id: NAME, prediction: `${NAME}.nii.gz`, reference: "r", classes: found }]),
  );
  await writeReport(run);
}
