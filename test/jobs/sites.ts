/** Sites of organ phantoms, each with one organ annotated. */
import { readdirSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readNifti, writeNifti, writeOrganPhantomDataset } from "../../engine/imaging/mod.ts";

/**
 * Writes the folders site_0, site_1 and so on, in which one organ each is annotated, and "test", in which all are.
 *
 * @param options cases: patients of each; size: voxels of a scan along each axis
 */
export async function writeSites(
  folder: string,
  { organs, cases, size }: { organs: readonly string[]; cases: number; size: number },
): Promise<void> {
  const spacing = 288 / size;
  const options = {
    cases,
    organs: [...organs],
    shape: [size, size, size] as const,
    spacing: [spacing, spacing, spacing] as const,
  };
  await writeOrganPhantomDataset(join(folder, "test"), { ...options, seed: 99 });
  for (const [k, organ] of organs.entries()) {
    const path = join(folder, `site_${k}`);
    await writeOrganPhantomDataset(path, { ...options, seed: 10 + k });
    for (const file of readdirSync(join(path, "labelsTr"))) {
      const label = readNifti(new Uint8Array(await readFile(join(path, "labelsTr", file))));
      const data = Uint8Array.from(label.data, (each) => each === k + 1 ? k + 1 : 0);
      await writeFile(join(path, "labelsTr", file), writeNifti({ ...label, data }, { gzip: true }));
    }
    const json = JSON.parse(await readFile(join(path, "dataset.json"), "utf8"));
    for (const item of json.training) item.labels_present = [organ];
    await writeFile(join(path, "dataset.json"), JSON.stringify(json));
  }
}
