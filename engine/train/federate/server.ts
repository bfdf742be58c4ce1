/** The server of a federation: it sees sums of updates, never one alone. */
import { VoxgradError } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import { formatTable, print } from "../run/logging.ts";
import type { RunFolder } from "../run/run_folder.ts";
import type { Channel, Message } from "./channel.ts";
import { aggregate, privacySpent, type Site } from "./masks.ts";

export interface FederationOptions {
  readonly rounds: number;
  /** Sites that are waited for before the first round, and the least of a round. */
  readonly sites: number;
  readonly least: number;
  /** Seconds that a round waits for a site. */
  readonly patience: number;
  /** What sites are told when they join: plan, steps of a round, rate, clipping, noise. */
  readonly task: Readonly<Record<string, unknown>>;
  /** Names and shapes of the weights, which each site must have too. */
  readonly shapes: string;
  readonly noise: number;
  /** Called after each round with the weights. */
  readonly keep?: (round: number, weights: Float32Array) => Promise<unknown>;
}

const text = (value: unknown, what: string): string => {
  if (typeof value !== "string" || value === "") throw new VoxgradError(`a message lacks ${what}`);
  return value;
};

/**
 * Runs the rounds of a federation from first weights; returns the last ones.
 *
 * @param run where federation.jsonl goes: members, those missing and the norm of the mean of each round
 * @example
 * ```ts
 * import { openChannel, RunFolder, serveFederation } from "voxgrad/train";
 *
 * const serve = async (first: Float32Array, shapes: string) => {
 *   const channel = await openChannel("nats://127.0.0.1:4222", "abdomen");
 *   const options = { rounds: 20, sites: 4, least: 2, patience: 600, task: {}, shapes, noise: 0 };
 *   return serveFederation(channel, new RunFolder("runs/federation"), first, options);
 * };
 * ```
 */
export async function serveFederation(
  channel: Channel,
  run: RunFolder,
  first: Float32Array,
  options: FederationOptions,
): Promise<Float32Array> {
  const { rounds, sites, least, patience, task, shapes, noise, keep } = options;
  const known = new Map<string, Site>();
  const ready = new Set<string>();
  const updates = new Map<string, Uint32Array>();
  const seeds = new Map<string, { site: string; missing: string; seed: string }>();
  const scores = new Map<string, Record<string, number>>();
  let members: Site[] = [];
  let [round, open] = [0, false];
  let wake = (): void => undefined;
  const refuse = (site: string, why: string): never => {
    print(`Site ${site}: refused: ${why}`);
    throw new VoxgradError(why);
  };
  /** Waits until `done`, or for some seconds. */
  const until = async (done: () => boolean, seconds: number): Promise<void> => {
    const end = performance.now() + 1000 * seconds;
    while (!done() && performance.now() < end) {
      await new Promise<void>((resolve) => {
        wake = resolve;
        setTimeout(resolve, 200);
      });
    }
  };
  /** A message of a member of the round that runs. */
  const ofRound = (message: Message): string => {
    const site = text(message.site, "the name of its site");
    if (!known.has(site)) refuse(site, "it has not joined");
    if (message.round !== round) {
      refuse(site, `its ${message.type} is of round ${message.round}; this is round ${round}`);
    }
    if (!members.some((member) => member.site === site)) refuse(site, `it is no member of round ${round}`);
    return site;
  };
  const take: Record<string, (message: Message) => Promise<object | void>> = {
    async join(message) {
      const site = text(message.site, "the name of its site");
      if (message.voxgrad !== VERSION) refuse(site, `it is voxgrad ${message.voxgrad}, and the server is ${VERSION}`);
      const samples = Number(message.samples);
      if (message.samples !== undefined && !(samples > 0)) refuse(site, `it has ${message.samples} samples`);
      // The first question learns the task, the second one joins.
      if (message.shapes === undefined) return { task };
      if (message.shapes !== shapes) refuse(site, "its network has other weights than the server's");
      known.set(site, { site, key: text(message.key, "a key"), samples });
      print(`Site ${site} joined with ${samples} samples`);
      return { rounds };
    },
    async ready(message) {
      if (message.round === round && !open) ready.add(text(message.site, "the name of its site"));
      return {};
    },
    async update(message) {
      const site = ofRound(message);
      if (!open) refuse(site, `round ${round} is over`);
      if (updates.has(site)) refuse(site, `its update of round ${round} came before; this one is a repetition`);
      const name = `update_${round}_${site}`;
      const values = new Uint32Array(await channel.get(name, text(message.digest, "a digest")));
      await channel.forget(name);
      if (values.length !== first.length) refuse(site, `its update has ${values.length} weights, not ${first.length}`);
      updates.set(site, values);
      return {};
    },
    async failed(message) {
      const site = ofRound(message);
      print(`Site ${site}: left out of round ${round}: ${message.why}`);
      failed.add(site);
      return {};
    },
    async reveal(message) {
      const site = ofRound(message);
      for (const [missing, seed] of Object.entries(message.seeds as Record<string, string>)) {
        seeds.set(`${site} ${missing}`, { site, missing, seed });
      }
      return {};
    },
    async measure(message) {
      scores.set(text(message.site, "the name of its site"), message.dice as Record<string, number>);
      return {};
    },
  };
  const failed = new Set<string>();
  channel.listen("server", async (message) => {
    const answer = await (take[message.type] ?? (() => Promise.reject(new VoxgradError("unknown message"))))(message);
    wake();
    return answer;
  });

  print(`Waiting for ${sites} sites`);
  await until(() => known.size >= sites, Infinity);
  const weights = Float32Array.from(first);
  const noises: number[] = [];
  for (round = 1; round <= rounds; round++) {
    for (const map of [ready, updates, seeds, failed]) map.clear();
    const digest = await channel.put(`weights_${round}`, weights);
    channel.tell({ type: "call", round });
    await until(() => ready.size >= known.size, Math.min(patience, 5));
    members = [...ready].sort().flatMap((site) => known.get(site) ?? []);
    if (members.length < least) {
      print(`Round ${round}: ${members.length} sites answer, of the ${least} that a round needs; it waits`);
      await until(() => false, 1);
      round--;
      continue;
    }
    open = true;
    channel.tell({ type: "round", round, members, digest });
    await until(() => updates.size + failed.size >= members.length, patience);
    open = false;
    const missing = members.map(({ site }) => site).filter((site) => !updates.has(site));
    const wanted = updates.size * missing.length;
    if (missing.length > 0 && updates.size >= least) {
      channel.tell({ type: "missing", round, missing });
      await until(() => seeds.size >= wanted, patience);
    }
    const note = { round, members: members.map(({ site }) => site), missing };
    if (updates.size < least || seeds.size < wanted) {
      print(`Round ${round}: given up, for ${missing.join(", ")} did not answer; the weights stay`);
      await run.append("federation.jsonl", `${JSON.stringify({ ...note, kept: false })}\n`);
      continue;
    }
    const mean = await aggregate(updates, members, [...seeds.values()]);
    // The noise of those missing is missing too.
    noises.push(noise * Math.sqrt(updates.size / members.length));
    for (let k = 0; k < weights.length; k++) weights[k] += mean[k];
    const norm = Math.sqrt(mean.reduce((sum, value) => sum + value * value, 0));
    await run.append("federation.jsonl", `${JSON.stringify({ ...note, kept: true, norm })}\n`);
    await channel.forget(`weights_${round}`);
    const told = missing.length > 0 ? `, without ${missing.join(", ")}` : "";
    print(`Round ${round} of ${rounds}: ${updates.size} sites${told}; the mean update has norm ${norm.toPrecision(4)}`);
    await keep?.(round, weights);
  }
  const digest = await channel.put("weights_last", weights);
  channel.tell({ type: "end", digest });
  await until(() => scores.size >= known.size, patience);
  const rows = [...scores].sort().flatMap(([site, dice]) =>
    Object.entries(dice).map(([label, value]) => [site, label, value])
  );
  print(`\nPseudo-Dice of held-out patches, by the sites themselves\n${formatTable(["site", "label", "Dice"], rows)}`);
  if (noise > 0) {
    print(`Differential privacy of a site: epsilon ${privacySpent(noises).toFixed(2)} at delta 1e-5`);
  }
  return weights;
}
