/** chain.jsonl: a chain of digests of what a training began with, and of its losses and weights after each epoch. */
import { sha256 } from "../../core/digest.ts";
import { isPlain } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import * as tree from "../../core/tree.ts";
import { JsonLines } from "./logging.ts";
import { valueDigest } from "./provenance.ts";
import type { RunFolder } from "./run_folder.ts";

export const CHAIN = "chain.jsonl";

/** A link: of epoch 0 what the training began with, of each other its losses and the weights at its end. */
export interface ChainLink {
  readonly epoch: number;
  readonly step: number;
  /** Digests of options (with the seed that all random keys follow from), plan, split and data. */
  readonly of?: Readonly<Record<string, string>>;
  readonly losses?: string;
  readonly weights?: string;
  /** Digest of the link before and of this one. */
  readonly hash: string;
}

const isLink = (value: unknown): boolean =>
  isPlain(value) && [value.epoch, value.step].every(Number.isSafeInteger) && typeof value.hash === "string";

const hashOf = (before: string, link: Omit<ChainLink, "hash">): Promise<string> => valueDigest([before, link]);

/** SHA-256 of weights: names, shapes and values, wherever they are kept. */
export async function weightsDigest(tensors: ReadonlyMap<string, Tensor>): Promise<string> {
  const parts: unknown[] = [];
  for (const [name, tensor] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const data = await tensor.data() as ArrayBufferView;
    const bytes = new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
    parts.push([name, tensor.dtype, tensor.shape, await sha256(bytes)]);
  }
  return valueDigest(parts);
}

/** The chain that a training writes. */
export class Chain {
  readonly #run: RunFolder;
  readonly #lines: JsonLines<ChainLink>;
  #last = "";

  constructor(run: RunFolder) {
    this.#run = run;
    this.#lines = new JsonLines(run, CHAIN);
  }

  /** Begins it, or keeps the links up to a step. A run that was begun without one has none. */
  async open(done: number): Promise<void> {
    const links = this.#run.resumed ? await this.#lines.resume(({ step }) => step <= done, isLink) : [];
    this.#last = links.at(-1)?.hash ?? "";
    if (links.length > 0 || done > 0) return;
    await this.#lines.begin();
    await this.#add({ epoch: 0, step: 0, ...(this.#run.identity && { of: this.#run.identity }) });
  }

  /** Adds the link of an epoch. */
  async epoch(epoch: number, step: number, losses: readonly number[], state: object): Promise<void> {
    if (this.#last === "") return;
    const params = tree.flatten((state as { params?: object }).params ?? state) as Map<string, Tensor>;
    await this.#add({ epoch, step, losses: await valueDigest(losses), weights: await weightsDigest(params) });
  }

  async #add(link: Omit<ChainLink, "hash">): Promise<void> {
    this.#last = await hashOf(this.#last, link);
    await this.#lines.add({ ...link, hash: this.#last });
    await this.#lines.flush();
  }
}

/** The first link that was changed after it was written; undefined if none was. */
export async function brokenLink(links: readonly ChainLink[]): Promise<ChainLink | undefined> {
  let before = "";
  for (const [index, link] of links.entries()) {
    const { hash, ...content } = link;
    if (!isLink(link) || link.epoch !== index || hash !== (await hashOf(before, content))) return link;
    before = hash;
  }
  return undefined;
}

/** Where two chains part, in words; undefined if one is the beginning of the other. */
export function parting(a: readonly ChainLink[], b: readonly ChainLink[]): string | undefined {
  for (const [index, own] of a.entries()) {
    const other = b[index];
    if (other === undefined || own.hash === other.hash) continue;
    if (index === 0) {
      const parts = Object.keys({ ...own.of, ...other.of }).filter((key) => own.of?.[key] !== other.of?.[key]);
      return `they began with other ${parts.join(", ")}`;
    }
    const { epoch } = own;
    const losses = own.losses === other.losses ? "the same losses" : "other losses";
    const weights = own.weights === other.weights ? "the same weights" : "other weights";
    return `they part in epoch ${epoch}: ${losses} and ${weights}`;
  }
  return undefined;
}
