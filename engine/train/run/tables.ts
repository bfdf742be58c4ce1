/** Tables of a run: JSON files in its folder tables/, shown in reports above the figures. */
import { platform } from "#platform";
import { check } from "../../core/errors.ts";
import { readJson, type RunFolder } from "./run_folder.ts";

const FOLDER = "tables";

export interface ReportTable {
  /** Name of the file, without .json. Reports show tables in the order of their names. */
  readonly name: string;
  readonly title: string;
  /** Caption, one or two sentences. */
  readonly caption: string;
  readonly headings: readonly string[];
  /** Cells under the headings; NaN or null if undefined. */
  readonly rows: readonly (readonly (string | number | null)[])[];
}

/**
 * Writes a table to tables/NAME.json of a run.
 *
 * @throws VoxgradError for a row whose length differs from the headings
 * @example
 * ```ts
 * import { RunFolder, writeTable } from "voxgrad/train";
 *
 * const rows = [["liver", 0.9]];
 * const table = { name: "1_dice", title: "Dice", caption: "Means.", headings: ["class", "Dice"], rows };
 * await writeTable(new RunFolder("runs/mine"), table);
 * ```
 */
export function writeTable(run: RunFolder, { name, ...table }: ReportTable): Promise<string> {
  const { headings, rows } = table;
  const odd = rows.findIndex((row) => row.length !== headings.length);
  check(
    odd < 0,
    "writeTable",
    () => `row ${odd} of ${name} has ${rows[odd].length} cells for ${headings.length} headings`,
  );
  return run.writeJson(`${FOLDER}/${name}.json`, table);
}

const isCell = (cell: unknown): boolean => cell === null || typeof cell === "string" || typeof cell === "number";

/**
 * The tables in a run's folder, ordered by name.
 *
 * @param path of the run's folder
 * @throws VoxgradError for a file that is not a valid table
 */
export async function readTables(path: string): Promise<ReportTable[]> {
  const folder = `${path}/${FOLDER}`;
  if (!(await platform.exists(folder))) return [];
  const files = (await platform.listFiles(folder)).filter((file) => file.endsWith(".json"));
  return Promise.all(files.map(async (file) => {
    const { title, caption, headings, rows } = ((await readJson(`${folder}/${file}`)) ?? {}) as ReportTable;
    const texts = [title, caption, ...(Array.isArray(headings) ? headings : [0])].every((each) =>
      typeof each === "string"
    );
    const right = texts && Array.isArray(rows) &&
      rows.every((row) => Array.isArray(row) && row.length === headings.length && row.every(isCell));
    check(right, `${folder}/${file}`, () => "it is no table of writeTable; correct it or remove it");
    return { title, caption, headings, rows, name: file.slice(0, -".json".length) };
  }));
}
