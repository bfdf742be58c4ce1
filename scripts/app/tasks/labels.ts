/** Label maps: components, measures, files. */
import { zipSync } from "fflate";
import {
  checkGrid,
  encodeLabels,
  imageStem,
  keepLargestComponent,
  LABEL_FORMATS,
  type LabelFormat,
  readLabelVolume,
  reorient,
  type Volume,
  wholeLabels,
} from "../../../engine/imaging/mod.ts";
import { VoxgradError } from "../../../engine/mod.ts";
import { gridOf, scanOf, toScan } from "./kept.ts";
import { type Measure, measure } from "./measure.ts";
import { type LabelName, named } from "./models.ts";

interface Shown {
  readonly scan: number;
  /** On the grid that the page shows. */
  readonly labels: Uint8Array<ArrayBuffer>;
}

/** A file to save. */
export interface SavedFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Keeps of each class the largest connected part. */
export async function largest({ scan, labels, values }: Shown & { values: readonly number[] }) {
  const { shape } = gridOf(scan);
  for (const value of values) keepLargestComponent(labels, { shape, values: [value] });
  return { labels };
}

/** Volume and diameter of each class. */
export async function measures({ scan, labels }: Shown): Promise<Measure[]> {
  const { shape, spacing } = gridOf(scan);
  return measure(labels, shape, spacing);
}

/** A label map as a file. */
export async function encode(
  { scan, labels, names, format }: Shown & { names: readonly LabelName[]; format: LabelFormat },
): Promise<SavedFile> {
  const volume = toScan(scan, labels);
  const shown = new Set(labels);
  const own = names.filter(({ value }) => shown.has(value));
  const bytes = await encodeLabels(volume, format, { labels: own.length > 0 ? own : names });
  return { name: `${stemOf(volume)}_labels${LABEL_FORMATS[format]}`, bytes };
}

export const stemOf = ({ name }: Volume): string => {
  const file = name.replace(/^.*\//, "");
  return (imageStem(file) ?? file).replace(/[^\w.-]+/g, "_") || "scan";
};

/** Labels of a file on the grid of a scan. */
export async function read({ scan, file }: { scan: number; file: File }): Promise<Shown & { names: LabelName[] }> {
  const labels = reorient(wholeLabels(await readLabelVolume(file)), "RAS");
  checkGrid({ ...scanOf(scan), ...gridOf(scan) }, labels, 0.05);
  const values = [...new Set(labels.data as Iterable<number>)].filter((value) => value > 0).sort((a, b) => a - b);
  if (values.some((value) => value > 255)) {
    throw new VoxgradError(`${file.name}: it holds the label ${values.at(-1)}; the page shows labels up to 255`);
  }
  return {
    scan,
    labels: Uint8Array.from(labels.data),
    names: named(values.map((value) => ({ value, name: `Class ${value}` }))),
  };
}

/** The label map in all formats that the scan allows, with its measures as a table, in one archive. */
export async function encodeAll(
  { scan, labels, names }: Shown & { names: readonly LabelName[] },
): Promise<SavedFile> {
  const { dicom } = scanOf(scan);
  const formats = (Object.keys(LABEL_FORMATS) as LabelFormat[]).filter((format) =>
    dicom || !["seg", "rtstruct"].includes(format)
  );
  const files = await Promise.all(formats.map((format) => encode({ scan, labels, names, format })));
  const rows = (await measures({ scan, labels })).map(({ value, voxels, milliliters, diameter }) => {
    const name = names.find((each) => each.value === value)?.name ?? `${value}`;
    return [value, JSON.stringify(name), voxels, milliliters.toFixed(4), diameter.toFixed(2)].join(",");
  });
  const table = ["value,name,voxels,volume_ml,longest_axial_diameter_mm", ...rows].join("\n");
  files.push({ name: "measures.csv", bytes: new TextEncoder().encode(`${table}\n`) as Uint8Array<ArrayBuffer> });
  const bytes = zipSync(Object.fromEntries(files.map(({ name, bytes }) => [name, [bytes, { level: 0 }]])));
  return { name: `${stemOf(scanOf(scan))}.zip`, bytes: bytes as Uint8Array<ArrayBuffer> };
}
