/**
 * Secure aggregation (Bonawitz et al. 2017, without double masks): each site adds to its update a mask shared with
 * every other site, which the other one subtracts, so that only the sum of all updates shows. If a site is missing, the
 * others reveal the seeds of the masks that they share with it, of that round alone.
 */
import { sha256 } from "../../core/digest.ts";
import { VoxgradError } from "../../core/errors.ts";

/** A key pair of a site: P-256, for Diffie-Hellman. */
export interface SiteKey {
  readonly privateKey: object;
  /** In base 16. */
  readonly publicKey: string;
}

const CURVE = { name: "ECDH", namedCurve: "P-256" };
const hex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const unhex = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));

export async function siteKey(): Promise<SiteKey> {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(CURVE, false, ["deriveBits"]);
  return { privateKey, publicKey: hex(new Uint8Array(await crypto.subtle.exportKey("raw", publicKey))) };
}

/** The seed of the mask that two sites share in a round; both compute the same. */
export async function roundSeed(own: SiteKey, other: string, round: number): Promise<string> {
  const key = await crypto.subtle.importKey("raw", unhex(other), CURVE, false, []);
  const secret = await crypto.subtle.deriveBits({ name: "ECDH", public: key }, own.privateKey as never, 256);
  return sha256(`${hex(new Uint8Array(secret))} round ${round}`);
}

/** Adds the mask of a seed to values, or takes it away; modulo 2^32. */
export async function addMask(values: Uint32Array, seed: string, sign: 1 | -1): Promise<void> {
  const key = await crypto.subtle.importKey("raw", unhex(seed), "AES-CTR", false, ["encrypt"]);
  const zeros = new Uint8Array(4 * values.length);
  const stream = await crypto.subtle.encrypt({ name: "AES-CTR", counter: new Uint8Array(16), length: 64 }, key, zeros);
  const mask = new Uint32Array(stream);
  for (let k = 0; k < values.length; k++) values[k] += sign * mask[k];
}

/** Fixed point: steps of 2^-22, so that sums of 64 sites may reach 8. */
const SCALE = 2 ** 22;

/**
 * An update as integers modulo 2^32.
 *
 * @param share of the site in the mean: its samples over those of the largest site
 * @throws VoxgradError for values that are not finite, or too large for a sum of all sites
 */
export function toFixed(update: Float32Array, share: number, sites: number): Uint32Array<ArrayBuffer> {
  const most = 2 ** 31 / SCALE / sites;
  return Uint32Array.from(update, (value) => {
    if (!Number.isFinite(value)) throw new VoxgradError(`its update holds ${value}; its training has diverged`);
    if (Math.abs(value) >= most) throw new VoxgradError(`its update changes a weight by ${value}, more than ${most}`);
    return Math.round(value * share * SCALE) >>> 0;
  });
}

/** The mean of updates from the sum of their integers. */
export const fromFixed = (sum: Uint32Array, shares: number): Float32Array<ArrayBuffer> =>
  Float32Array.from(sum, (value) => (value | 0) / SCALE / shares);

/** A site as the others see it. */
export interface Site {
  readonly site: string;
  readonly key: string;
  readonly samples: number;
}

/** An update under the masks of all other members of a round. */
export async function masked(
  update: Float32Array,
  { own, key, round, members }: { own: string; key: SiteKey; round: number; members: readonly Site[] },
): Promise<Uint32Array<ArrayBuffer>> {
  const largest = Math.max(...members.map(({ samples }) => samples));
  const me = members.find(({ site }) => site === own)!;
  const values = toFixed(update, me.samples / largest, members.length);
  for (const other of members) {
    if (other.site === own) continue;
    await addMask(values, await roundSeed(key, other.key, round), own < other.site ? 1 : -1);
  }
  return values;
}

/**
 * The mean of the updates that came, weighted by samples.
 *
 * @param updates masked, by site
 * @param seeds of each pair of a site that came and one that is missing
 */
export async function aggregate(
  updates: ReadonlyMap<string, Uint32Array>,
  members: readonly Site[],
  seeds: readonly { readonly site: string; readonly missing: string; readonly seed: string }[],
): Promise<Float32Array<ArrayBuffer>> {
  const [first] = updates.values();
  const sum = new Uint32Array(first.length);
  for (const values of updates.values()) for (let k = 0; k < sum.length; k++) sum[k] += values[k];
  for (const { site, missing, seed } of seeds) await addMask(sum, seed, site < missing ? -1 : 1);
  const largest = Math.max(...members.map(({ samples }) => samples));
  const came = members.filter(({ site }) => updates.has(site));
  return fromFixed(sum, came.reduce((total, { samples }) => total + samples / largest, 0));
}

/**
 * Epsilon of (epsilon, delta) differential privacy after rounds of the Gaussian mechanism, by Renyi divergence (Mironov
 * 2017), for a site whose clipped update is one of the sum.
 *
 * @param noises of each round: deviation of the noise on the sum over the clipping norm
 */
export function privacySpent(noises: readonly number[], delta = 1e-5): number {
  const spent = noises.reduce((sum, noise) => sum + 1 / (2 * noise * noise), 0);
  let least = Infinity;
  for (let order = 1.01; order < 1000; order *= 1.01) {
    least = Math.min(least, order * spent + Math.log(1 / delta) / (order - 1));
  }
  return least;
}
