/** What the browser keeps of adapting: a model, scans with their labels, the last run. */
import type { LabelName } from "./models.ts";
import { type Folder, store } from "./store.ts";
import { type RunState, runState } from "./training.ts";

/** What a scan is there for: to be learned from, to be measured meanwhile by its corrected labels, to be looked at. */
export type Role = "learn" | "held" | "watch";

export interface AdaptScan {
  /** Its name among the files. */
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** Whether somebody corrected what the model found. */
  readonly corrected: boolean;
  /** Whether its labels are known without correcting, as of synthetic scans. */
  readonly known?: boolean;
}

export interface AdaptModel {
  readonly name: string;
  readonly path: string;
  readonly labels: readonly LabelName[];
  readonly channels: readonly string[];
}

/** What the browser keeps. */
export interface AdaptState {
  readonly model?: AdaptModel;
  readonly scans: readonly AdaptScan[];
  /** The last adaptation. */
  readonly run?: RunState;
}

const STATE = "state.json";
export const home = async (): Promise<Folder> => (await store()).within("adapt");

/** What was kept from before. */
export async function state(): Promise<AdaptState> {
  const folder = await home();
  const kept = await folder.json<AdaptState>(STATE, { scans: [] });
  const run = await runState(folder);
  return { ...kept, ...(run && { run }) };
}

/** Keeps another state. */
export async function change(made: (before: AdaptState) => AdaptState): Promise<AdaptState> {
  const folder = await home();
  await folder.write(STATE, JSON.stringify(made(await folder.json<AdaptState>(STATE, { scans: [] }))));
  return state();
}

/** Forgets everything. */
export async function clear(): Promise<AdaptState> {
  await (await store()).remove("adapt");
  return state();
}
