// One example, as a visitor walks it: a class painted on a slice by the pointer, found, corrected, found again, saved.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, random } from "../../../engine/mod.ts";
import { organPhantomCase, reorient, writeNifti } from "../../../engine/imaging/mod.ts";
import { saveModel } from "../../../engine/train/mod.ts";
import { alpnet } from "../../../models/mod.ts";
import * as oneShot from "../../../scripts/app/tasks/one_shot.ts";
import { open } from "../../../scripts/app/tasks/scans.ts";
import { planFor } from "../../helpers/plans.ts";
import { SMALL_ENCODER } from "../../models/open/small_models.ts";
import { closeBrowser } from "../harness.ts";
import { openApp, pixelOf, problemOf, saved, says, walk } from "./page.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-one-"));
const place = (name: string): string => join(folder, name);
test.after(async () => {
  await closeBrowser();
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});

const { image, label } = organPhantomCase({ seed: 5, shape: [40, 36, 16], spacing: [9, 9, 24], distinct: true });
const [X, Y] = image.shape;
const plan = planFor({
  dataset: "phantoms",
  orientation: "RAS",
  spacing: [24, 9, 9],
  patch: [16, 36, 40],
  channels: [{ name: "MR", normalization: "z-score" }],
  labels: ["background", "a"],
  fingerprint: {
    cases: 1,
    medianShape: [16, 36, 40],
    medianSpacing: [24, 9, 9],
    medianPreparedShape: [16, 36, 40],
    relativeSizeAfterCrop: 1,
  },
});
const params = alpnet.encoder(SMALL_ENCODER).init(random.key(2));
const weights = await saveModel(params, { network: "alpnetEncoder", architecture: SMALL_ENCODER, plan });
await writeFile(place("encoder.safetensors"), weights);
await writeFile(place("scan.nii.gz"), writeNifti(reorient(image, "LPS"), { dtype: "float32", gzip: true }));

/** What class 1 shows of a slice, and nothing else. */
const painted = (slices: readonly number[]): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(label.data, (value, i) => Number(value === 1 && slices.includes(Math.floor(i / (X * Y)))));
const most = Array.from({ length: image.shape[2] }, (_, z) => painted([z]).reduce((a, b) => a + b, 0))
  .map((count, z) => [count, z]).sort(([a], [b]) => b - a).map(([, z]) => z);

/** Paints what class 1 shows of a slice, run by run. */
async function paint(page: Page, z: number): Promise<void> {
  await page.getByLabel("Slice", { exact: true }).fill(String(z + 1));
  for (let y = 0; y < Y; y++) {
    for (let x = 0; x < X; x++) {
      const at = (column: number): number => label.data[column + X * (y + Y * z)];
      if (at(x) !== 1) continue;
      const from = x;
      while (x + 1 < X && at(x + 1) === 1) x++;
      await page.mouse.move(...await pixelOf(page, 2, [from, y, z], image.shape));
      await page.mouse.down();
      await page.mouse.move(...await pixelOf(page, 2, [x, y, z], image.shape), { steps: 3 });
      await page.mouse.up();
    }
  }
}

walk("One example finds what is painted, as the tasks do in Node, and keeps what is painted", async (browser) => {
  const { page, mistakes, close } = await openApp("example", { browser });
  try {
    await page.getByLabel("Choose files").setInputFiles(place("scan.nii.gz"));
    await page.locator('#stage[data-shown="scan.nii.gz"]').waitFor({ timeout: 60_000 });
    await page.getByText("Encoder", { exact: true }).click();
    await page.getByLabel("Choose an encoder").setInputFiles(place("scan.nii.gz"));
    assert.match(await problemOf(page), /scan\.nii\.gz/);
    await page.getByLabel("Choose an encoder").setInputFiles(place("encoder.safetensors"));
    await page.getByText("encoder.safetensors: compares slices of MR").waitFor();

    const find = page.getByRole("button", { name: /^Find/ });
    assert.is(await find.isDisabled(), true);
    await page.getByLabel("Size", { exact: true }).fill("1");
    await paint(page, most[0]);
    assert.match((await page.locator("#panel").textContent())!, `Painted slices: ${most[0] + 1}`);
    assert.equal(reorient(await saved(page), "RAS").data, painted([most[0]]));
    await find.click();
    await says(page, /Done in/);
    const first = reorient(await saved(page), "RAS");

    const scan = await open({ files: [{ file: new File([await readFile(place("scan.nii.gz"))], "scan.nii.gz") }] });
    const file = new File([weights], "encoder.safetensors");
    const encoder = await oneShot.open({ place: { files: [{ file, path: file.name }] } });
    const inNode = async (slices: readonly number[]): Promise<Uint8Array> => {
      const examples = [{ scan: scan.id, labels: painted(slices) }];
      const work = { signal: AbortSignal.timeout(60_000), tell: () => undefined };
      await oneShot.find({ encoder: encoder.id, scan: scan.id, examples }, work);
      const range = [0, image.shape[2] - 1] as const;
      const options = { scan: scan.id, threshold: 0.5, range, near: true, corrected: slices.slice(1) };
      return (await oneShot.labels(options)).labels;
    };
    const alike = (found: ArrayLike<number>, wanted: Uint8Array): void => {
      const differ = wanted.filter((value, i) => value !== found[i]).length;
      // The browser has another build of SwiftShader, which rounds otherwise.
      assert.ok(differ <= wanted.length / 1000, `${differ} of ${wanted.length} voxels differ`);
    };
    alike(first.data, await inNode([most[0]]));
    assert.ok(first.data.filter((value) => value > 0).length > painted([most[0]]).filter((value) => value > 0).length);

    // A slice is corrected: everything there is taken away, and painted anew.
    const other = most.find((z) => Math.abs(z - most[0]) > 1)!;
    await page.getByLabel("Slice", { exact: true }).fill(String(other + 1));
    await page.getByRole("button", { name: "Eraser" }).click();
    await page.getByLabel("Size", { exact: true }).fill("40");
    const middle = await pixelOf(page, 2, [(X - 1) / 2, (Y - 1) / 2, other], image.shape);
    const corner = await pixelOf(page, 2, [0, 0, other], image.shape);
    const step = 18;
    for (let y = 2 * middle[1] - corner[1]; y <= corner[1]; y += step) {
      await page.mouse.move(2 * middle[0] - corner[0] + 1, y);
      await page.mouse.down();
      await page.mouse.move(corner[0] - 1, y, { steps: 4 });
      await page.mouse.up();
    }
    await page.getByRole("button", { name: "Brush" }).click();
    await page.getByLabel("Size", { exact: true }).fill("1");
    await paint(page, other);
    await page.getByRole("button", { name: "Find again" }).click();
    await says(page, /Done in/);
    const second = reorient(await saved(page), "RAS");
    alike(second.data, await inNode([most[0], other]));
    assert.equal(
      second.data.slice(X * Y * other, X * Y * (other + 1)),
      painted([other]).slice(X * Y * other, X * Y * (other + 1)),
    );
    assert.equal(mistakes, []);
  } finally {
    await close();
  }
});

test.run();
