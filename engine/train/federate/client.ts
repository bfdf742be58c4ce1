/** A site of a federation: it trains on its own scans, and sends updates under masks. */
import { VoxgradError } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import { print } from "../run/logging.ts";
import type { Channel } from "./channel.ts";
import { masked, roundSeed, type Site, siteKey } from "./masks.ts";

export interface SiteTraining {
  /** Names and shapes of the weights. */
  readonly shapes: string;
  /** Cases that it trains on: its weight in the mean. */
  readonly samples: number;
  /** Trains from weights; returns the next ones. */
  readonly train: (weights: Float32Array, round: number) => Promise<Float32Array>;
  /** Pseudo-Dice of each of its labels. */
  readonly measure: (weights: Float32Array) => Promise<Readonly<Record<string, number>>>;
  /** Largest norm of an update, and the deviation of noise in it; 0: neither. */
  readonly clip: number;
  readonly noise: number;
}

/** Most random numbers that one call of the generator gives. */
const AT_ONCE = 16_384;

/**
 * Normal numbers of a cryptographic generator, by the rule of Box and Muller. As numbers in floating point they are no
 * proof against an adversary who knows their last bits (Mironov 2012).
 */
export function normalNumbers(count: number): Float64Array {
  const values = new Float64Array(count);
  const bits = new Uint32Array(AT_ONCE);
  for (let k = 0; k < count; k += 2) {
    const at = k % AT_ONCE;
    if (at === 0) crypto.getRandomValues(bits);
    // (0, 1], so that the logarithm is finite.
    const radius = Math.sqrt(-2 * Math.log((bits[at] + 1) / 2 ** 32));
    const angle = 2 * Math.PI * (bits[at + 1] / 2 ** 32);
    values[k] = radius * Math.cos(angle);
    if (k + 1 < count) values[k + 1] = radius * Math.sin(angle);
  }
  return values;
}

/**
 * Asks what the federation trains: what the server has as its task.
 *
 * @example
 * ```ts
 * import { askTask, openChannel } from "voxgrad/train";
 *
 * const ask = async () => askTask(await openChannel("nats://127.0.0.1:4222", "abdomen"), "hospital_a");
 * ```
 */
export const askTask = async (channel: Channel, site: string): Promise<Readonly<Record<string, unknown>>> =>
  (await channel.ask({ type: "join", site, voxgrad: VERSION })).task as Record<string, unknown>;

/**
 * Takes part in all rounds; returns the last weights.
 *
 * @throws VoxgradError where the server refuses, or calls so many sites missing that it might learn the update of one
 * @example
 * ```ts
 * import { joinFederation, openChannel } from "voxgrad/train";
 *
 * const join = async (shapes: string, train: (weights: Float32Array) => Promise<Float32Array>) => {
 *   const channel = await openChannel("nats://127.0.0.1:4222", "abdomen");
 *   const measure = async () => ({ liver: 0.9 });
 *   return joinFederation(channel, "hospital_a", { shapes, samples: 20, train, measure, clip: 0, noise: 0 });
 * };
 * ```
 */
export async function joinFederation(channel: Channel, site: string, training: SiteTraining): Promise<Float32Array> {
  const key = await siteKey();
  const { shapes, samples, clip, noise } = training;
  let members: readonly Site[] = [];
  /** Rounds that this site has revealed masks of, for it must not send an update of these any more. */
  const revealed = new Set<number>();
  const ended = new Promise<Float32Array>((resolve, reject) => {
    const fail = (error: unknown): void => reject(error);
    channel.listen("sites", async (message) => {
      const { type } = message;
      const round = message.round as number;
      if (type === "call") await channel.ask({ type: "ready", site, round }).catch(fail);
      if (type === "round") {
        members = message.members as Site[];
        if (!members.some((member) => member.site === site)) return;
        const before = new Float32Array(await channel.get(`weights_${round}`, message.digest as string));
        try {
          const after = await training.train(before, round);
          const update = limited(after.map((value, k) => value - before[k]), clip, noise, members.length);
          const values = await masked(update, { own: site, key, round, members });
          if (revealed.has(round)) return;
          const digest = await channel.put(`update_${round}_${site}`, values);
          await channel.ask({ type: "update", site, round, digest });
          print(`Round ${round}: update sent`);
        } catch (error) {
          const why = (error as Error).message;
          print(`Round ${round}: ${why}`);
          await channel.ask({ type: "failed", site, round, why }).catch(fail);
        }
      }
      if (type === "missing") {
        const missing = (message.missing as string[]).filter((other) =>
          members.some((member) => member.site === other)
        );
        if (missing.includes(site)) return void revealed.add(round);
        // A server that calls most sites missing could learn the update of one.
        if (2 * missing.length >= members.length) {
          return fail(new VoxgradError(`round ${round}: the server calls ${missing.join(", ")} missing, half of all`));
        }
        const pairs = missing.map(async (other) => {
          const { key: its } = members.find((member) => member.site === other)!;
          return [other, await roundSeed(key, its, round)] as const;
        });
        await channel.ask({ type: "reveal", site, round, seeds: Object.fromEntries(await Promise.all(pairs)) }).catch(
          fail,
        );
      }
      if (type === "end") {
        const weights = new Float32Array(await channel.get("weights_last", message.digest as string));
        await channel.ask({ type: "measure", site, dice: await training.measure(weights) }).catch(fail);
        resolve(weights);
      }
    });
  });
  const { rounds } = await channel.ask({ type: "join", site, voxgrad: VERSION, shapes, samples, key: key.publicKey });
  print(`Site ${site} joined: ${rounds} rounds, ${samples} samples`);
  return ended;
}

/** An update whose norm is at most `clip`, with this site's share of the noise on the sum. */
function limited(update: Float32Array, clip: number, noise: number, sites: number): Float32Array {
  if (clip === 0) return update;
  const norm = Math.sqrt(update.reduce((sum, value) => sum + value * value, 0));
  const scale = Math.min(1, clip / norm);
  if (noise === 0) return update.map((value) => value * scale);
  const [deviation, normal] = [(noise * clip) / Math.sqrt(sites), normalNumbers(update.length)];
  return update.map((value, k) => value * scale + deviation * normal[k]);
}
