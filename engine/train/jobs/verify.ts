/** `voxgrad verify`: whether a run is what its chain of digests says, and where two runs part. */
import { platform } from "#platform";
import { trimSlashes } from "../../core/paths.ts";
import { isPlain, VoxgradError } from "../../core/errors.ts";
import { ConfigError } from "../run/config.ts";
import { brokenLink, CHAIN, type ChainLink, parting, weightsDigest } from "../run/chain.ts";
import { print, readJsonLines, type StepRecord } from "../run/logging.ts";
import { readWeights } from "../../nn/safetensors.ts";
import { valueDigest } from "../run/provenance.ts";
import { readJson } from "../run/run_folder.ts";
import { commandOf } from "../run/script.ts";

export interface VerifyOptions {
  /** The run's folder. */
  readonly run: string;
  /** Another run to compare with. */
  readonly against: string;
  /** Epoch up to which the training is repeated; 0: it is not. */
  readonly recompute: number;
}

/** The folders of a run's folds by name; the run itself by "". */
async function foldsOf(run: string): Promise<Map<string, string>> {
  const names = (await platform.listFiles(run)).filter((name) => /^fold_\d+$/.test(name));
  const folders = new Map(names.map((name) => [name, `${run}/${name}`]));
  if (await platform.exists(`${run}/${CHAIN}`)) folders.set("", run);
  if (folders.size === 0) {
    throw new ConfigError(`${run}: it holds no ${CHAIN}; name a run that this version of voxgrad trained`);
  }
  return folders;
}

/** What is wrong with the folder of a fold; none if all is right. */
async function faultsOf(folder: string): Promise<string[]> {
  const links = await readJsonLines<ChainLink>(`${folder}/${CHAIN}`);
  const faults: string[] = [];
  const broken = await brokenLink(links);
  if (broken) faults.push(`${CHAIN}: the link of epoch ${broken.epoch} was changed after it was written`);
  const records = await readJsonLines<StepRecord>(`${folder}/log.jsonl`);
  for (const [index, link] of links.entries()) {
    if (index === 0) continue;
    const own = records.filter(({ step }) => step > links[index - 1].step && step <= link.step);
    const digest = await valueDigest(own.map(({ loss }) => loss));
    if (digest !== link.losses) {
      faults.push(`log.jsonl: the losses of epoch ${link.epoch} are not those of the training`);
    }
  }
  const model = `${folder}/model.safetensors`;
  if (await platform.exists(model)) {
    try {
      const digest = await weightsDigest((await readWeights(model)).tensors);
      if (digest !== links.at(-1)?.weights) faults.push("model.safetensors: it is not of the last epoch of the chain");
    } catch (error) {
      faults.push((error as Error).message);
    }
  }
  return faults;
}

/** Compares the chains of two runs; returns where they part. */
async function compare(a: string, b: string): Promise<string[]> {
  const [own, others] = [await foldsOf(a), await foldsOf(b)];
  const told: string[] = [];
  for (const [name, folder] of own) {
    const other = others.get(name);
    if (other === undefined) {
      print(`${folder}: it has nothing beside it in ${b}`);
      continue;
    }
    const [mine, its] = await Promise.all([folder, other].map((each) => readJsonLines<ChainLink>(`${each}/${CHAIN}`)));
    const part = parting(mine, its);
    const epochs = Math.min(mine.length, its.length) - 1;
    if (part === undefined) print(`${name || a} and ${other}: equal for ${epochs} epochs`);
    else told.push(`${folder} and ${other}: ${part}`);
  }
  return told;
}

/** Trains again in a folder beside the run, to the end of an epoch; returns that folder. */
async function repeat(run: string, epoch: number): Promise<string> {
  const config = await readJson(`${run}/config.json`);
  const { script } = isPlain(config) ? config : {};
  if (typeof script !== "string") {
    throw new ConfigError(`${run}/config.json: it does not say which script trained the run, so it is not repeated`);
  }
  const copy = `${run}.verify`;
  await platform.remove(copy);
  for (const name of ["config.json", "plan.json", "splits.json"]) {
    await platform.writeFile(`${copy}/${name}`, await platform.readFile(`${run}/${name}`));
  }
  print(`Training again to the end of epoch ${epoch}, in ${copy}`);
  const command = platform.startCommand!([...commandOf(script), `--resume=${copy}`, `--until=${epoch}`], {
    onProgress: (progress) => platform.progress(progress),
  });
  const { code, tail } = await command.ended;
  if (code !== 0) throw new VoxgradError(`${copy}: the training failed:\n${tail.slice(-8).join("\n")}`);
  return copy;
}

/**
 * Checks a run against its chain of digests: the chain itself, the losses in its log, the weights of its model, and, if
 * they are asked for, the chains of another run and of the same training, repeated.
 *
 * @throws VoxgradError that lists what differs, and in which epoch
 * @example
 * ```ts
 * import { verifyRun } from "voxgrad/train";
 *
 * const verify = (run: string) => verifyRun({ run, against: "", recompute: 3 });
 * ```
 */
export async function verifyRun({ run: given, against, recompute }: VerifyOptions): Promise<void> {
  const run = trimSlashes(given);
  const faults: string[] = [];
  for (const [name, folder] of await foldsOf(run)) {
    const own = await faultsOf(folder);
    faults.push(...own.map((fault) => `${folder}: ${fault}`));
    const links = await readJsonLines<ChainLink>(`${folder}/${CHAIN}`);
    if (own.length === 0) print(`${name || run}: ${links.length - 1} epochs, chain ${links.at(-1)?.hash.slice(0, 16)}`);
  }
  if (against !== "") faults.push(...await compare(run, trimSlashes(against)));
  if (recompute > 0) {
    const copy = await repeat(run, recompute);
    faults.push(...await compare(run, copy));
    if (faults.length === 0) await platform.remove(copy);
  }
  if (faults.length > 0) throw new VoxgradError(faults.join("\n"));
}
