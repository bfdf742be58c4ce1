/** Output of a running training: a progress line, one record per step, tables at the end. */
import { platform } from "#platform";
import { isPlain, VoxgradError } from "../../core/errors.ts";
import { JsonError, parseJson } from "../../core/json.ts";
import { PlatformError } from "../../platform/types.ts";
import type { ProgramInfo } from "../../compile/mod.ts";
import type { RunFolder } from "./run_folder.ts";

/**
 * Prints a line.
 *
 * @example
 * ```ts
 * import { print } from "voxgrad/train";
 *
 * print("12 cases");
 * ```
 */
export const print = (line: string): void => platform.log(line);

/**
 * Seconds as people say them.
 *
 * @example
 * ```ts
 * import { duration } from "voxgrad/train";
 *
 * duration(75); // "1 min 15 s"
 * ```
 */
export function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/**
 * Describes a compiled step in one line.
 *
 * @example
 * ```ts
 * import { compile, type Tensor, tensor } from "voxgrad";
 * import { print, programLine } from "voxgrad/train";
 *
 * const double = compile((x: Tensor) => x.mul(2));
 * const start = performance.now();
 * await double(tensor([1, 2]));
 * print(programLine(double.programs()[0], performance.now() - start));
 * ```
 */
export function programLine(info: ProgramInfo, milliseconds: number, name = "Step"): string {
  const memory = `${(info.peakBytes / 1e6).toFixed(1)} MB at most`;
  return `${name}: ${info.dispatches} kernels, ${memory}, ready after ${duration(milliseconds / 1000)}`;
}

/** Two significant digits from 1 on, integers from 100 on. */
const brief = (value: number): string => (value < 99.5 ? value.toPrecision(2) : value.toFixed(0));

/** Steps (or cases) per second and the time left, from the recent past; the first, which compiles, is excluded. */
export class Pace {
  readonly #total: number;
  readonly #times: { done: number; at: number }[] = [];
  readonly #now: () => number;

  constructor(total: number, now: () => number = () => performance.now()) {
    this.#total = total;
    this.#now = now;
  }

  /** Records progress; returns "3.1 steps/s, 52 s left" once the pace is known. */
  mark(done: number, unit: string): string {
    this.#times.push({ done, at: this.#now() });
    if (this.#times.length > 50) this.#times.shift();
    const [first, last] = [this.#times[0], this.#times.at(-1)!];
    const rate = (1000 * (last.done - first.done)) / (last.at - first.at);
    if (!(rate > 0) || !Number.isFinite(rate)) return "";
    const pace = rate >= 1 ? `${brief(rate)} ${unit}s/s` : `${brief(1 / rate)} s/${unit}`;
    return done < this.#total ? `${pace}  ${duration((this.#total - done) / rate)} left` : pace;
  }
}

/**
 * Iterates over items and shows progress.
 *
 * @param unit name of an item: "case"
 * @example
 * ```ts
 * import { counted } from "voxgrad/train";
 *
 * for (const id of counted(["a", "b", "c"], "case")) console.log(id);
 * ```
 */
export function* counted<T>(items: readonly T[], unit: string): Generator<T, void, undefined> {
  const pace = new Pace(items.length);
  pace.mark(0, unit);
  for (const [index, item] of items.entries()) {
    yield item;
    const done = index + 1;
    const text = `${unit} ${done}/${items.length}  ${pace.mark(done, unit)}`.trimEnd();
    platform.progress({ done, total: items.length, text });
  }
}

/** Log record of one step. */
export interface StepRecord {
  readonly step: number;
  readonly loss: number;
  /** Learning rate of the step. */
  readonly rate: number;
  /** Pseudo-Dice of each foreground class over recent steps; NaN until a class has been seen. */
  readonly dice: readonly number[];
  /** Seconds since the training started. */
  readonly seconds: number;
  /** Further values of the method, by the title of their curves and their names; not of every step. */
  readonly extra?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** Log record of one epoch. */
export interface EpochRecord {
  readonly epoch: number;
  /** Its last step. */
  readonly step: number;
  /** Mean loss of its steps, and on validation patches. */
  readonly loss: number;
  readonly validationLoss?: number;
  /** Pseudo-Dice of each class on validation patches. */
  readonly dice?: readonly number[];
  /** Moving average of their mean: 0.9 of the previous average plus 0.1 of the newest value, as in nnU-Net. */
  readonly average?: number;
  readonly rate: number;
  /** Time that the epoch took. */
  readonly seconds: number;
}

const isNumber = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value);
const isDice = (value: unknown): boolean =>
  Array.isArray(value) && value.every((each) => each === null || isNumber(each));
/** Whether a value is a record of log.jsonl. */
export const isStep = (value: unknown): boolean =>
  isPlain(value) && Number.isSafeInteger(value.step) && [value.loss, value.rate, value.seconds].every(isNumber) &&
  isDice(value.dice) &&
  (value.extra === undefined ||
    (isPlain(value.extra) &&
      Object.values(value.extra).every((series) =>
        isPlain(series) && Object.values(series).every((each) => each === null || isNumber(each))
      )));
/** Whether a value is a record of epochs.jsonl. */
export const isEpoch = (value: unknown): boolean =>
  isPlain(value) && [value.epoch, value.step].every(Number.isSafeInteger) &&
  [value.loss, value.rate, value.seconds].every(isNumber) &&
  (value.dice === undefined || isDice(value.dice));

/** Seconds between writes of a growing log. */
const WRITE_EVERY = 5;

/** Records as JSON lines in the run folder, appended every few seconds and at the end. */
export class JsonLines<R extends object = object> {
  readonly #run: RunFolder;
  readonly #name: string;
  #pending = "";
  #writtenAt = performance.now();
  /** Bytes of complete lines in the file; anything beyond was truncated by a full disk. */
  #size = 0;
  #torn = false;

  constructor(run: RunFolder, name: string) {
    this.#run = run;
    this.#name = name;
  }

  /** Starts a new log. */
  async begin(): Promise<void> {
    this.#size = 0;
    await this.#run.write(this.#name, "");
  }

  /**
   * Resumes the log of an earlier run: keeps its lines up to the first that `keep` rejects, or a truncated last line.
   *
   * @param isRecord whether a value is a record of this log
   * @returns the records kept
   * @throws VoxgradError for an invalid line before valid ones; the file is not changed
   */
  async resume(keep: (record: R) => boolean, isRecord: (value: unknown) => boolean = isPlain): Promise<R[]> {
    const path = `${this.#run.path}/${this.#name}`;
    const text = (await platform.exists(path)) ? new TextDecoder().decode(await platform.readFile(path)) : "";
    const lines = text.split("\n");
    const parsed = lines.map((line, index) => parsedLine(line, `${path}: line ${index + 1}`));
    const good = parsed.map((value) => value !== undefined && isRecord(value));
    const torn = good.lastIndexOf(true) + 1;
    const bad = good.indexOf(false);
    if (bad < torn) {
      throw new VoxgradError(
        `${path}: line ${
          bad + 1
        } is no record of this log, and whole ones follow it; correct the line, or remove it: ` +
          "what it recorded is lost then",
      );
    }
    if (lines.slice(torn).some((line) => line !== "")) {
      platform.log(`${path}: its end was cut off after line ${torn}, and is left out`);
    }
    const records = (parsed as R[]).slice(0, torn);
    const refused = records.findIndex((record) => !keep(record));
    if (refused >= 0) records.splice(refused);
    const kept = lines.slice(0, records.length).map((line) => `${line}\n`).join("");
    this.#size = new TextEncoder().encode(kept).length;
    await this.#run.write(this.#name, kept);
    return records;
  }

  async add(record: R): Promise<void> {
    this.#pending += `${JSON.stringify(record)}\n`;
    if (performance.now() - this.#writtenAt > 1000 * WRITE_EVERY) await this.flush();
  }

  /** Writes pending records. On a full disk it reports that, keeps them, and retries with the next lines. */
  async flush(): Promise<void> {
    this.#writtenAt = performance.now();
    const text = this.#pending;
    const size = this.#size + new TextEncoder().encode(text).length;
    const path = `${this.#run.path}/${this.#name}`;
    try {
      if (this.#torn) {
        const whole = new TextDecoder().decode((await platform.readFile(path)).subarray(0, this.#size));
        await this.#run.write(this.#name, whole + text);
      } else {
        await this.#run.append(this.#name, text);
      }
    } catch (error) {
      if (!(error instanceof PlatformError)) throw error;
      if (!this.#torn) platform.log(`${error.message}. The log is kept in memory and written later`);
      this.#torn = true;
      return;
    }
    this.#torn = false;
    this.#pending = "";
    this.#size = size;
  }
}

/**
 * Reads the complete lines of a JSON lines file; empty if it does not exist. A truncated last line is ignored.
 *
 * @throws VoxgradError for a line that is not JSON
 */
export async function readJsonLines<R>(path: string): Promise<R[]> {
  if (!(await platform.exists(path))) return [];
  const text = new TextDecoder().decode(await platform.readFile(path));
  return text.split("\n").slice(0, -1).map((line, index) => {
    try {
      return parseJson(line, `${path}: line ${index + 1}`) as R;
    } catch (cause) {
      if (!(cause instanceof JsonError)) throw cause;
      throw new VoxgradError(
        `${cause.file} is no JSON (${cause.problem}); correct it, or remove it: what it recorded is lost then`,
        { cause },
      );
    }
  });
}

/** The value of a line; undefined if it is not JSON. */
export function parsedLine(line: string, place: string): unknown {
  try {
    return parseJson(line, place);
  } catch (error) {
    if (error instanceof JsonError) return undefined;
    throw error;
  }
}

/**
 * Formats rows under headings with aligned columns: strings left, numbers right, with 3 decimals unless integer, NaN as
 * "-". Without rows it says so, because headings alone look like an error.
 *
 * @example
 * ```ts
 * import { formatTable } from "voxgrad/train";
 *
 * const table = formatTable(["class", "Dice"], [["organ", 0.91234], ["gland", NaN]]);
 * ```
 */
export function formatTable(headings: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  if (rows.length === 0) return `No ${headings[0] ?? "row"} to show`;
  const text = (cell: string | number): string => {
    if (typeof cell === "string") return cell;
    return Number.isNaN(cell) ? "-" : Number.isInteger(cell) ? String(cell) : cell.toFixed(3);
  };
  const lines = [headings, ...rows].map((row) => row.map(text));
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  const numeric = headings.map((_, column) => rows.some((row) => typeof row[column] === "number"));
  const join = (line: readonly string[]): string =>
    line.map((cell, c) => (numeric[c] ? cell.padStart(widths[c]) : cell.padEnd(widths[c]))).join("  ").trimEnd();
  const [head, ...body] = lines.map(join);
  const rule = "-".repeat(widths.reduce((a, b) => a + b + 2, -2));
  return [head, rule, ...body].join("\n");
}
