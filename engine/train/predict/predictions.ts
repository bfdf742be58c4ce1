/**
 * Label maps in a folder, each with what it was made from: one that is there is kept only if all of that is the same.
 */
import { trimSlashes } from "../../core/paths.ts";
import { platform } from "#platform";
import { sha256 } from "../../core/digest.ts";
import { isPlain, listed, show } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import type { DatasetCase } from "../../imaging/dataset/types.ts";
import { readNifti } from "../../imaging/nifti/nifti.ts";
import { volumeFiles } from "../../imaging/nifti/read_volume.ts";
import { ConfigError } from "../run/config.ts";
import { parsedLine, print } from "../run/logging.ts";
import { contentDigest, valueDigest } from "../run/provenance.ts";
import { RunFolder } from "../run/run_folder.ts";

/** A line for each case that was made; where a case has several, the last one counts. */
const LOG = "predict.jsonl";
/** What earlier versions wrote in its place. */
const OLD_LOG = "predict.json";
/** Where what nothing tells the origin of goes, before a result takes its place. */
const ASIDE = "replaced";

/** SHA-256 of files by their paths. */
export type Digests = Readonly<Record<string, string>>;

/** What a case's files were made from and by, and what they are. All files by SHA-256. */
interface CaseRecord {
  readonly case: string;
  readonly voxgrad: string;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Of the networks, and of what else was read, in order. */
  readonly sources: Digests;
  readonly scan: Digests;
  readonly outputs: Digests;
  readonly device: string;
}

export interface PredictionsOptions {
  /** Whatever of the command line the result depends on. */
  readonly settings: Readonly<Record<string, unknown>>;
  /**
   * Files beside the scans that it depends on, such as networks and supports, by fileDigests. To be taken before they
   * are read: what changes between is made again the next time.
   */
  readonly sources: Digests;
  /** The scans that are asked for. */
  readonly cases: readonly DatasetCase[];
  readonly device: string;
  /** Make all again. */
  readonly overwrite: boolean;
}

const isRecord = (value: unknown): value is CaseRecord =>
  isPlain(value) && typeof value.case === "string" && typeof value.voxgrad === "string" &&
  [value.settings, value.sources, value.scan, value.outputs].every(isPlain);

/**
 * SHA-256 of files by their paths, of both files of a .hdr/.img pair.
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
  for (const path of paths) for (const each of await volumeFiles(path)) found[each] = await contentDigest(each);
  return found;
}

/** Whether two lists of files have the same content in the same order, wherever they lie. */
const sameContent = (a: Digests, b: Digests): boolean => Object.values(a).join() === Object.values(b).join();

/** Results of one command line in a folder; `openPredictions` makes one. */
export class Predictions {
  readonly output: RunFolder;
  readonly #options: PredictionsOptions;
  readonly #records: ReadonlyMap<string, CaseRecord>;
  readonly #scans = new Map<string, Digests>();

  /** @param records what is known of the cases that the folder holds */
  constructor(output: RunFolder, options: PredictionsOptions, records: ReadonlyMap<string, CaseRecord>) {
    this.output = output;
    this.#options = options;
    this.#records = records;
  }

  /**
   * Why a case has to be made; undefined where its files were made from the same and are as they were written.
   *
   * @param names of the files that are wanted of it
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

  /**
   * Writes the files of a case, those that vouch for the others last. What stands there of unknown origin is put aside.
   */
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

  /** Says which other cases of the folder were made otherwise, so that nobody takes all of it for one. */
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
 * @throws ConfigError where scans lie in it, and where it holds label maps of these names that no such command wrote
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
      // A line that a kill cut off tells nothing: its case is made again.
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
    // Empty, cut off, or no image at all: it is put aside when the result comes.
    return false;
  }
}
