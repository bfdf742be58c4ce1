/** Label maps: components, measures, files. */
import { encodeLabels, keepLargestComponent, LABEL_FORMATS, type LabelFormat } from "../../../engine/imaging/mod.ts";
import { scanOf, shownGrid, toScan } from "./kept.ts";
import type { LabelName } from "./models.ts";

interface Shown {
  readonly scan: number;
  /** On the grid that the page shows. */
  readonly labels: Uint8Array<ArrayBuffer>;
}

/** Keeps of each class the largest connected part. */
export async function largest({ scan, labels, values }: Shown & { values: readonly number[] }) {
  const { shape } = shownGrid(scanOf(scan));
  for (const value of values) keepLargestComponent(labels, { shape, values: [value] });
  return { labels };
}

/** A label map as a file. */
export async function encode(
  { scan, labels, names, format }: Shown & { names: readonly LabelName[]; format: LabelFormat },
): Promise<{ name: string; bytes: Uint8Array<ArrayBuffer> }> {
  const volume = toScan(scanOf(scan), labels);
  const bytes = await encodeLabels(volume, format, { labels: names });
  const stem = volume.name.replace(/^.*\//, "").replace(/\.(nii|nii\.gz|nrrd|mha|mgh|mgz|dcm|zip)$/i, "");
  return { name: `${stem.replace(/[^\w.-]+/g, "_")}_labels${LABEL_FORMATS[format]}`, bytes };
}
