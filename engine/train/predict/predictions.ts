/**
 * Label maps in a folder, each recorded with its inputs; an existing one is kept only if all of its inputs are
 * unchanged.
 */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import { sha256 } from "../../core/digest.ts";
import { isPlain, listed, show } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import type { DatasetCase } from "../../imaging/dataset/types.ts";
import { readNifti } from "../../imaging/nifti/nifti.ts";
import { volumeFiles } from "../../imaging/formats/image_folders.ts";
import { ConfigError } from "../run/config.ts";
import { parsedLine, print } from "../run/logging.ts";
import { contentDigest, valueDigest } from "../run/provenance.ts";
import { RunFolder } from "../run/run_folder.ts";

/** One line per predicted case; if a case has several, the last one counts. */
const LOG = "predict.jsonl";
/** Name used by earlier versions. */
const OLD_LOG = "predict.json";
/** Folder for files of unknown origin that a result would overwrite. */
const ASIDE = "replaced";

/** SHA-256 of files by their paths. */
export type Digests = Readonly<Record<string, string>>;

/** Inputs and outputs of a case. All files by SHA-256. */
interface CaseRecord {
  readonly case: string;
  readonly voxgrad: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Digests of the networks and other inputs, in order. */
  readonly sources: Digests;
  readonly scan: Digests;
  readonly outputs: Digests;
  readonly device: string;
}

export interface PredictionsOptions {
  /** The command-line options that the result depends on. */
  readonly settings: Readonly<Record<string, unknown>>;
  /**
   * Digests (fileDigests) of other inputs, such as networks and supports. Compute them before reading the files: if a
   * file changes in between, the result is recomputed next time.
   */
  readonly sources: Digests;
  /** The scans to predict. */
  readonly cases: readonly DatasetCase[];
  readonly device: string;
  /** Recompute all. */
  readonly overwrite: boolean;
}

const isRecord = (value: unknown): value is CaseRecord =>
  isPlain(value) && typeof value.case === "string" && typeof value.voxgrad === "string" &&
  [value.settings, value.sources, value.scan, value.outputs].every(isPlain);

/**
 * SHA-256 of files by their paths, of both files of a .hdr/.img pair; of a DICOM folder one of all its files.
 *
 * @example
 * ```ts
 * import { fileDigests } from "voxgrad/train";
 *
 * const sources = await fileDigests(["runs/liver/model.safetensors"]);
 * ```
 */
export async function fileDigests(paths: readonly string[]): Promise<Digests> {
  const found: Record<string, string> = {};
  for (const path of paths) {
    const files = await volumeFiles(path);
    if (files.length <= 2) { for (const each of files) found[each] = await contentDigest(each); }
    // A series has hundreds: one digest stands for all.
    else found[path] = await valueDigest(await Promise.all(files.map(contentDigest)));
  }
  return found;
}

/** Whether two lists of files have the same content in the same order, regardless of their paths. */
const sameContent = (a: Digests, b: Digests): boolean => Object.values(a).join() === Object.values(b).join();

/** Results of one command line in a folder; created by `openPredictions`. */
export class Predictions {
  readonly output: RunFolder;
  readonly #options: PredictionsOptions;
  readonly #records: ReadonlyMap<string, CaseRecord>;
  readonly #scans = new Map<string, Digests>();

  /**
   * @param records records of the cases in the folder
   */
  constructor(output: RunFolder, options: PredictionsOptions, records: ReadonlyMap<string, CaseRecord>) {
    this.output = output;
    this.#options = options;
    this.#records = records;
  }

  /**
   * Why a case must be predicted; undefined if its inputs are the same and its files unmodified.
   *
   * @param names of the files required
   */
  async reason(item: DatasetCase, names: readonly string[]): Promise<string | undefined> {
    const scan = await fileDigests(item.images);
    this.#scans.set(item.id, scan);
    const before = this.#records.get(item.id);
    if (this.#options.overwrite) return "--overwrite";
    if (!before) return (await this.output.has(names[0])) ? "nothing tells what it was made from" : "new";
    if (!sameContent(before.scan, scan)) return "the scan is another";
    if (!sameContent(before.sources, this.#options.sources)) return "it was made by other weights or supports";
    if (before.voxgrad !== VERSION) return `it was made by voxgrad ${show(before.voxgrad)}`;
    const { settings } = this.#options;
    const keys = [...new Set([...Object.keys(settings), ...Object.keys(before.settings)])];
    for (const key of keys) {
      if ((await valueDigest(settings[key] ?? null)) !== (await valueDigest(before.settings[key] ?? null))) {
        return `it was made with another ${key}`;
      }
    }
    for (const name of names) {
      if (!Object.hasOwn(before.outputs, name)) return `${name} is wanted too`;
      if (!(await this.output.has(name))) return `${name} is missing`;
      if ((await contentDigest(`${this.output.path}/${name}`)) !== before.outputs[name]) {
        return `${name} is not what was written`;
      }
    }
    return undefined;
  }

  /** Writes the files of a case and then its record. Existing files of unknown origin are moved aside. */
  async write(item: DatasetCase, files: Readonly<Record<string, Uint8Array>>): Promise<void> {
    const outputs: Record<string, string> = {};
    for (const [name, bytes] of Object.entries(files)) {
      await this.#putAside(item.id, name, bytes);
      await this.output.write(name, bytes);
      outputs[name] = await sha256(bytes);
    }
    const { settings, device, sources } = this.#options;
    const record: CaseRecord = {
      case: item.id,
      voxgrad: VERSION,
      settings,
      sources,
      scan: this.#scans.get(item.id) ?? (await fileDigests(item.images)),
      outputs,
      device,
    };
    await this.output.append(LOG, `${JSON.stringify(record)}\n`);
  }

  async #putAside(id: string, name: string, bytes: Uint8Array): Promise<void> {
    if (this.#options.overwrite || !(await this.output.has(name))) return;
    const there = await platform.readFile(`${this.output.path}/${name}`);
    const digest = await sha256(there);
    if (there.length === 0 || digest === this.#records.get(id)?.outputs[name] || digest === (await sha256(bytes))) {
      return;
    }
    let place = `${ASIDE}/${name}`;
    for (let k = 2; await this.output.has(place); k++) place = `${ASIDE}/${k}_${name}`;
    await this.output.write(place, there);
    print(
      `${this.output.path}/${name} was not written by this command as it stood; it lies in ` +
        `${this.output.path}/${place} now`,
    );
  }

  /** Reports other cases of the folder that were made with other settings. */
  tellOthers(): void {
    const own = new Set(this.#options.cases.map(({ id }) => id));
    const others = [...this.#records.values()].filter((record) =>
      !own.has(record.case) &&
      !(sameContent(record.sources, this.#options.sources) &&
        JSON.stringify(record.settings) === JSON.stringify(this.#options.settings))
    );
    if (others.length === 0) return;
    print(
      `${this.output.path} also holds ${
        listed(others.map((record) => record.case))
      }, made by other networks or settings (${LOG})`,
    );
  }
}

/**
 * Opens a folder for label maps.
 *
 * @throws ConfigError if it contains scans, or label maps of these names that were not written by this command
 * @example
 * ```ts
 * import { writeNifti } from "voxgrad";
 * import { readVolume, volumeLike } from "voxgrad/imaging";
 * import { fileDigests, findImages, openPredictions } from "voxgrad/train";
 *
 * const cases = await findImages("imagesTs", 1);
 * const sources = await fileDigests(["runs/liver/model.safetensors"]);
 * const options = { settings: { step: 0.5 }, sources, cases, device: "", overwrite: false };
 * const predictions = await openPredictions("predictions", options);
 * for (const item of cases) {
 *   const file = `${item.id}.nii.gz`;
 *   if ((await predictions.reason(item, [file])) === undefined) continue; // is there and up to date
 *   const image = await readVolume(item.images[0]);
 *   await predictions.write(item, { [file]: writeNifti(volumeLike(image, new Uint8Array(image.data.length))) });
 * }
 * ```
 */
export async function openPredictions(folder: string, options: PredictionsOptions): Promise<Predictions> {
  const output = new RunFolder(trimSlashes(folder));
  const here = await platform.realPath(output.path);
  const inputs = [...new Set(options.cases.flatMap(({ images }) => images).concat(Object.keys(options.sources)))];
  for (const path of inputs) {
    const real = await platform.realPath(path);
    if (real.slice(0, Math.max(0, real.lastIndexOf("/"))) !== here && !(real === here)) continue;
    throw new ConfigError(
      `--output ${folder}: ${path} lies there, which is read; name another folder, so that no result takes its place`,
    );
  }
  const records = new Map<string, CaseRecord>();
  if (await output.has(LOG)) {
    for (const [index, line] of (await output.readText(LOG)).split("\n").entries()) {
      // A truncated line is ignored: its case is predicted again.
      const value = parsedLine(line, `${output.path}/${LOG}: line ${index + 1}`);
      if (isRecord(value)) records.set(value.case, value);
      else if (line !== "") {
        print(`${output.path}/${LOG}: line ${index + 1} is no record of a case; what it told is made again`);
      }
    }
  } else if (!options.overwrite && !(await output.has(OLD_LOG))) {
    const unknown: string[] = [];
    for (const { id } of options.cases) {
      if (await isLabelMap(`${output.path}/${id}.nii.gz`)) unknown.push(`${id}.nii.gz`);
    }
    if (unknown.length > 0) {
      throw new ConfigError(
        `--output ${folder}: it holds ${
          listed(unknown)
        }, and nothing tells that such a command wrote that (there is no ${LOG}); ` +
          "name another folder, or replace them with --overwrite",
      );
    }
  }
  return new Predictions(output, options, records);
}

async function isLabelMap(path: string): Promise<boolean> {
  if (!(await platform.exists(path))) return false;
  try {
    readNifti(await platform.readFile(path), path);
    return true;
  } catch {
    // Empty, truncated, or not an image: it is moved aside when the result is written.
    return false;
  }
}
