/** The series in a set of DICOM files. */
import { type DataSet, type DicomFile, number, parseDicom, text } from "./dicom_file.ts";
import { DicomError } from "./dicom_error.ts";
import { identifyingFields } from "./identity.ts";
import { hasDicomEnding, isDicom } from "./is_dicom.ts";
import { syntaxName } from "./pixels.ts";
import { type Slice, slicesOf } from "./slice.ts";

/** A file that is read when it is needed. */
export interface SourceFile {
  readonly name: string;
  read(): Promise<Uint8Array>;
}

/** Slices of one series that have the same size, spacing and orientation. */
export interface Series {
  /** By which it is chosen: its number, or number.part where others have it too. */
  readonly id: string;
  readonly uid: string;
  readonly modality: string;
  readonly number: number | undefined;
  readonly sopClass: string;
  /** How pixels are compressed. */
  readonly syntax: string;
  readonly slices: readonly Slice[];
  readonly files: ReadonlyMap<string, SourceFile>;
  /** Names of the fields that may identify the patient. */
  readonly identifying: readonly string[];
  /** Of patient, study and frame of reference. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** What lies in a set of files. */
export interface FoundSeries {
  readonly series: readonly Series[];
  /** Files that are no slices of a volume, and why. */
  readonly faults: readonly DicomError[];
  /** Segmentations (DICOM SEG). */
  readonly segmentations: readonly SourceFile[];
}

/** SOP classes of files without an image of their own. */
const DIRECTORY = "1.2.840.10008.1.3.10";
export const SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4";

/** Elements that a segmentation has in common with the series that it is of. */
const COMMON = [
  ...["x00080005", "x00080020", "x00080030", "x00080050", "x00080090", "x00081030"],
  ...["x00100010", "x00100020", "x00100030", "x00100040"],
  ...["x0020000d", "x00200010", "x00200052", "x00201040"],
];

interface Group extends Omit<Series, "id" | "slices" | "identifying" | "files"> {
  readonly slices: Slice[];
  readonly identifying: Set<string>;
  readonly files: Map<string, SourceFile>;
}

/**
 * Finds the series in files, reading each once. DICOMDIR, reports and files that are not DICOM are passed over.
 *
 * @param onDamage called for a file that is called as DICOM files are, or begins as one, and cannot be parsed; which
 *   series it belongs to is not known. Default: throws
 */
export async function findSeries(
  files: readonly SourceFile[],
  onDamage: (fault: DicomError) => void = (fault) => {
    throw fault;
  },
): Promise<FoundSeries> {
  const groups: Group[] = [];
  const faults: DicomError[] = [];
  const segmentations: SourceFile[] = [];
  const others: string[] = [];
  const patterns = new Set<string>();
  for (const source of files) {
    const bytes = await source.read();
    if (!isDicom(bytes) && !hasDicomEnding(source.name)) {
      others.push(source.name);
      continue;
    }
    patterns.add(patternOf(source.name));
    let file: DicomFile;
    try {
      file = parseDicom(bytes, source.name);
    } catch (fault) {
      if (!(fault instanceof DicomError)) throw fault;
      onDamage(fault);
      continue;
    }
    const { elements } = file;
    const sopClass = text(elements, "x00080016") ?? text(elements, "x00020002") ?? "";
    if (sopClass === DIRECTORY) continue;
    if (sopClass === SEGMENTATION) {
      segmentations.push(source);
      continue;
    }
    if (!hasImage(elements)) {
      faults.push(new DicomError(source.name, `no image (SOP class ${sopClass || "not named"})`, "slices of a volume"));
      continue;
    }
    let slices: Slice[];
    try {
      slices = slicesOf(file);
    } catch (fault) {
      if (!(fault instanceof DicomError)) throw fault;
      faults.push(fault);
      continue;
    }
    for (const slice of slices) add(groups, slice, source, file, sopClass);
  }
  // Passing over the last slice would cut the volume.
  const broken = others.find((name) => patterns.has(patternOf(name)));
  if (broken !== undefined) {
    onDamage(new DicomError(broken, "no DICOM file, called as the DICOM files beside it", "it intact, or not there"));
  }
  return { series: named(groups), faults, segmentations };
}

/** A name with its numbers left out: IM# of IM0012. */
const patternOf = (name: string): string => name.replace(/\d+/g, "#");

const hasImage = ({ elements }: DataSet): boolean =>
  ["x7fe00010", "x7fe00008", "x7fe00009", "x00280010"].some((tag) => elements[tag] !== undefined);

/** Adds a slice to the group that it fits into. */
function add(groups: Group[], slice: Slice, source: SourceFile, file: DicomFile, sopClass: string): void {
  const { elements, name, syntax } = file;
  const uid = text(elements, "x0020000e") ?? "";
  let group = groups.find((each) => each.uid === uid && fits(each.slices[0], slice));
  if (!group) {
    const attributes: Record<string, string> = {};
    for (const tag of COMMON) {
      const value = text(elements, tag);
      if (value !== undefined) attributes[tag] = value;
    }
    group = {
      uid,
      modality: text(elements, "x00080060") ?? "",
      number: wholeNumber(elements, name),
      sopClass,
      syntax: syntaxName(syntax),
      slices: [],
      files: new Map(),
      identifying: new Set(),
      attributes,
    };
    groups.push(group);
  }
  group.slices.push(slice);
  group.files.set(name, source);
  if (slice.frame === 0) identifyingFields(elements).forEach((field) => group.identifying.add(field));
}

/** The number of the series, which only names it: one that is no number is as good as none. */
function wholeNumber(elements: DataSet, name: string): number | undefined {
  try {
    return number(elements, "x00200011", name);
  } catch {
    return undefined;
  }
}

/** Whether two slices have the same size, and directions and distances but for rounding. */
function fits(a: Slice, b: Slice): boolean {
  const near = (p: readonly number[], q: readonly number[], most: number): boolean =>
    p.every((value, axis) => Math.abs(value - q[axis]) <= most);
  return a.columns === b.columns && a.rows === b.rows && near(a.right, b.right, 1e-3) && near(a.down, b.down, 1e-3) &&
    near(a.pixel, b.pixel, 1e-3 * Math.min(...a.pixel));
}

/** Gives each group an id. */
function named(groups: readonly Group[]): Series[] {
  const base = ({ number }: Group): string => (number === undefined ? "0" : String(number));
  return groups.map((group) => {
    const twins = groups.filter((other) => base(other) === base(group));
    const id = twins.length === 1 ? base(group) : `${base(group)}.${twins.indexOf(group) + 1}`;
    return { ...group, id, identifying: [...group.identifying].sort() };
  });
}

/** A series in words, without anything that identifies a patient. */
export function describeSeries({ id, modality, slices }: Series): string {
  const [{ columns, rows, pixel }] = slices;
  const size = `${slices.length} slice(s) of ${columns} x ${rows} pixels`;
  return `${id}: ${modality || "no modality"}, ${size} of ${pixel.map((mm) => +mm.toFixed(3)).join(" x ")} mm`;
}

/**
 * The one series that is meant.
 *
 * @param wanted its id, number or Series Instance UID; default: the only one
 * @throws DicomError that lists what there is
 */
export function chooseSeries(found: FoundSeries, name: string, wanted?: string): Series {
  const { series, faults } = found;
  const chosen = wanted === undefined
    ? series
    : series.filter(({ id, uid, number }) => id === wanted || uid === wanted || String(number) === wanted);
  if (chosen.length === 1) return chosen[0];
  if (series.length === 0) {
    const [fault] = faults;
    if (fault) throw fault;
    throw new DicomError(name, "no DICOM image", "the files of a series");
  }
  const all = (list: readonly Series[]): string =>
    list.slice(0, 12).map(describeSeries).concat(list.length > 12 ? [`${list.length} in all`] : []).join("; ");
  if (wanted !== undefined && chosen.length === 0) {
    throw new DicomError(name, `no series ${wanted.slice(0, 80)}`, `one of ${all(series)}`);
  }
  const error = new DicomError(
    name,
    `${chosen.length} series (${all(chosen)})`,
    "one: choose it by what stands before the colon (--series of a command, series of readVolume)",
  );
  error.series = chosen.map((each) => ({ id: each.id, about: describeSeries(each) }));
  throw error;
}
