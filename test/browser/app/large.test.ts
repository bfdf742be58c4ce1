// A scan larger than what goes to the GPU at once: all of it is shown, in parts, also with another window.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decode } from "fast-png";
import type { Page } from "playwright-core";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { makeVolume, scaling, writeNifti } from "../../../engine/imaging/mod.ts";
import { closeBrowser } from "../harness.ts";
import { openApp, pixelOf, walk } from "./page.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-large-"));
test.after(async () => {
  await closeBrowser();
  await rm(folder, { recursive: true, force: true });
});

/** Bytes that may go to the GPU at once. */
const MOST = 8e6;
const shape = [320, 300, 100] as const;
const [X, Y, Z] = shape;
/** Each slice has one value: 20, 30, ... */
const valueOf = (z: number): number => 20 + 10 * z;
const data = Int16Array.from({ length: X * Y * Z }, (_, i) => valueOf(Math.floor(i / (X * Y))));
await writeFile(join(folder, "scan.nii"), writeNifti(makeVolume(data, { shape, affine: scaling([1, 1, 1]) })));

/** Notes the bytes of each call that fills a part of a volume. */
function noteUploads(): void {
  const uploads: number[] = [];
  const { prototype } = WebGL2RenderingContext;
  const { texSubImage3D } = prototype;
  Object.assign(globalThis, { uploads });
  prototype.texSubImage3D = function (...args: unknown[]) {
    const [width, height, depth] = args.slice(5, 8) as number[];
    uploads.push(width * height * depth * (args[10] as Uint8Array).BYTES_PER_ELEMENT);
    return texSubImage3D.apply(this, args as never);
  };
}

/** Waits until the middle of a slice is drawn in a gray, from 0 to 1. */
async function waitForGray(page: Page, z: number, wanted: number): Promise<void> {
  await page.getByLabel("Slice", { exact: true }).fill(String(z + 1));
  const [x, y] = await pixelOf(page, 2, [X / 3, Y / 3, z], shape);
  let gray = NaN;
  for (let k = 0; k < 100 && !(Math.abs(gray - wanted) < 0.03); k++) {
    gray = decode(await page.screenshot({ clip: { x, y, width: 1, height: 1 } })).data[0] / 255;
    await page.waitForTimeout(50);
  }
  assert.ok(Math.abs(gray - wanted) < 0.03, `slice ${z} has the gray ${gray}, not ${wanted}`);
}

walk("A large scan goes to the GPU in parts, each once, and shows every slice", async (browser) => {
  const { page, mistakes, close } = await openApp("segment", { browser });
  try {
    await page.evaluate(noteUploads);
    await page.getByLabel("Choose files").setInputFiles(join(folder, "scan.nii"));
    await page.locator('#stage[data-shown="scan.nii"]').waitFor({ timeout: 60_000 });
    await page.getByRole("button", { name: "Axial" }).click();
    await page.getByText("Display").click();
    await page.getByLabel("Window").selectOption("all");
    for (const z of [Z - 1, Math.floor(Z / 2), 10]) await waitForGray(page, z, z / (Z - 1));
    const set = async (label: string, value: number): Promise<void> =>
      page.getByLabel(label, { exact: true }).fill(String(value));
    await set("Width", 200);
    await set("Level", 920);
    for (const z of [Z - 1, Z - 10, 10]) await waitForGray(page, z, Math.max(0, (valueOf(z) - 820) / 200));

    const uploads = await page.evaluate(() => (globalThis as unknown as { uploads: number[] }).uploads);
    assert.ok(Math.max(...uploads) <= MOST, `${uploads} bytes`);
    // The scan and its labels; NiiVue's placeholders have 8 voxels.
    assert.is(uploads.filter((bytes) => bytes > 32).reduce((a, b) => a + b), (2 + 1) * X * Y * Z);
    assert.equal(mistakes, []);
  } finally {
    await close();
  }
});

test.run();
