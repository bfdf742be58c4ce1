/** A folder of nested phantoms, and runs of train_conresnet in it, for its tests. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { closeDevice } from "../../engine/mod.ts";
import { writeNestedPhantomDataset } from "../../engine/imaging/mod.ts";

export const folder = await mkdtemp(join(tmpdir(), "voxgrad-conresnet-"));
export const place = (name: string): string => join(folder, name);
await writeNestedPhantomDataset(place("data"), { cases: 3, seed: 3, shape: [24, 24, 8] });

/** Arguments of a small run, with additional ones. */
export const words = (name: string, ...own: string[]): string[] => [
  place("data"),
  "--run",
  place(name),
  "--cache",
  place("prepared"),
  "--features",
  "4,8",
  "--groups",
  "2",
  "--batch",
  "2",
  ...(own.includes("all") ? [] : ["--folds", "3"]),
  "--epoch",
  "4",
  "--workers",
  "0",
  ...own,
];
export const file = (run: string, name: string): Promise<Buffer> => readFile(join(folder, run, name));
export const losses = async (run: string): Promise<number[]> =>
  String(await file(run, "log.jsonl")).trim().split("\n").map((line) => JSON.parse(line).loss);

export async function cleanUp(): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await closeDevice();
}
