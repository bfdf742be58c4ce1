/** A training step by micro-batches, which several ranks share. */
import { platform } from "#platform";
import { compile, type Compiled } from "../../compile/mod.ts";
import { check } from "../../core/errors.ts";
import type { Tensor } from "../../core/tensor.ts";
import * as tree from "../../core/tree.ts";
import { valueAndGrad } from "../../autodiff/mod.ts";
import { loadParameters, loadSafetensors, saveSafetensors } from "../../nn/safetensors.ts";
import { concat, reshape, slice, tensor } from "../../ops/mod.ts";
import type { Patches } from "../loop/batches.ts";
import type { TrainingRun } from "../loop/training_run.ts";
import { choice, ConfigError, type Entries, entry, refuseUnused } from "../run/config.ts";
import { print } from "../run/logging.ts";
import { commandOf, scriptName, splitList } from "../run/script.ts";
import { alone, CALLS, RankMember, RankRoot, type Ranks, type Welcome } from "./ranks.ts";
import { splitsEvenly, treeSum } from "./tree_sum.ts";

/** Options of trainings that several ranks may share. */
export interface RankEntries {
  readonly micro: number;
  readonly ranks: number;
  readonly rank: number;
  readonly at: string;
  readonly rankDevices: string;
  readonly exchange: "f32" | "f16";
}

/** Their config entries. */
export const rankEntries: Entries<RankEntries> = {
  micro: entry(0, "micro-batches that a step adds up; 0: as many as patches with --ranks, else none", {
    integer: true,
    min: 0,
  }),
  ranks: entry(1, "processes that share the micro-batches: a power of two that divides their number", {
    integer: true,
    min: 1,
  }),
  rank: entry(0, "number of this process; SLURM_PROCID and OMPI_COMM_WORLD_RANK say it without", {
    integer: true,
    min: 0,
  }),
  at: entry("", "address of rank 0 as tcp://HOST:5555, where something else starts the ranks"),
  rankDevices: entry("", "devices of ranks 1 and on, as VOXGRAD_ADAPTER takes them, with commas; the last one repeats"),
  exchange: choice(["f32", "f16"], "how gradients travel"),
};

/** Entries of a step that are not a run's own: a resumed run may change them. */
export const rankChanges = ["ranks", "rank", "at", "rankDevices"] as const;

/** The number of this process among the ranks. */
export function rankOf({ rank, ranks }: RankEntries): number {
  if (rank > 0 || ranks === 1) return rank;
  const told = platform.environment?.("SLURM_PROCID") ?? platform.environment?.("OMPI_COMM_WORLD_RANK");
  return Number(told ?? 0);
}

/** A rank from 1 that has joined a training. */
export interface Member {
  readonly ranks: RankMember;
  readonly welcome: Welcome;
}

/**
 * Joins a training as a rank from 1; undefined for rank 0, and where one process trains alone.
 *
 * @throws ConfigError without the address of rank 0
 * @example
 * ```ts
 * import { config, joinRanks, rankEntries } from "voxgrad/train";
 *
 * const member = await joinRanks(config(rankEntries, [])); // undefined: it is rank 0
 * ```
 */
export async function joinRanks(options: RankEntries): Promise<Member | undefined> {
  const rank = rankOf(options);
  if (rank === 0) return undefined;
  if (options.at === "") throw new ConfigError(`--at is missing: rank ${rank} connects to rank 0, as tcp://HOST:5555`);
  const ranks = await RankMember.open({
    rank,
    ranks: options.ranks,
    half: options.exchange === "f16",
    at: options.at,
  });
  return { ranks, welcome: await ranks.join() };
}

/** A step in parts. Sums go over the samples of a part; all else is the same in each. */
export interface MicroMethod<S extends { readonly params: object }> {
  /** What couples samples: the part's sums, to be added over all parts. */
  readonly sums: (params: S["params"], patches: Patches) => Tensor;
  /** The part's share of the loss, given those sums of the whole batch, and its metrics (stepMetrics). */
  readonly loss: (params: S["params"], patches: Patches, totals: Tensor, parts: number) => readonly [Tensor, Tensor];
  readonly update: (state: S, gradients: S["params"], rate: Tensor) => S;
}

/** The ranks of a fold, seen from rank 0. */
export interface RankLeader<S> {
  readonly ranks: Ranks;
  /** Says which step begins, and from which state. */
  readonly begin: (step: number, state: S) => void;
}

/** A compiled function, whatever its trees. */
type Program<A extends unknown[], R> = ((...args: A) => Promise<R>) & Pick<Compiled<never[], unknown>, "programs">;
/** What may be compiled: the types of trees are known where a method is made. */
const program = <A extends unknown[], R>(f: unknown, options: { donate?: number[] } = {}): Program<A, R> =>
  compile(f as (x: Tensor) => Tensor, options) as unknown as Program<A, R>;

/** Steps from one comparison of the weights of the ranks to the next. */
const COMPARE = 50;

/** The parts of a step that this process computes, and what it exchanges with the other ranks. */
export class MicroStep<S extends { readonly params: object }> {
  readonly #training: TrainingRun;
  readonly #parts: number;
  /** How far the weights of a rank differed when it was said last. */
  readonly #drift = new Map<number, number>();
  readonly #sums: Program<[params: object, sampled: Patches, key: Tensor], Tensor>;
  readonly #gradients: Program<[params: object, sampled: Patches, key: Tensor, totals: Tensor], Tensor>;
  readonly #update: Program<[state: S, flat: Tensor, rate: number], S>;

  constructor(training: TrainingRun, options: RankEntries & { readonly precision: string }, method: MicroMethod<S>) {
    const { batch } = training.plan;
    this.#training = training;
    this.#parts = options.micro || batch;
    const parts = this.#parts;
    check(
      batch % parts === 0,
      "--micro",
      () => `${parts} micro-batches do not divide a batch of ${batch}; see --batch`,
    );
    check(
      splitsEvenly(parts, options.ranks),
      "--ranks",
      () => `${options.ranks} ranks do not share ${parts} micro-batches: take a power of two that divides them`,
    );
    refuseUnused(options, {
      precision: options.precision !== "f32" && "micro-batches are not scaled for f16",
      rankDevices: (options.ranks === 1 || options.at !== "") && "this process starts no ranks",
    });
    if (options.precision !== "f32") {
      throw new ConfigError("--precision mixed: its loss scale couples micro-batches; leave out --micro and --ranks");
    }
    this.#sums = program((params: S["params"], sampled: Patches, key: Tensor) =>
      method.sums(params, training.augmented(key, sampled))
    );
    this.#gradients = program((params: S["params"], sampled: Patches, key: Tensor, totals: Tensor) => {
      const patches = training.augmented(key, sampled);
      const lossOf = (p: S["params"]) => method.loss(p, patches, totals, parts) as [Tensor, Tensor];
      const [[, metrics], grads] = valueAndGrad(lossOf, { hasAux: true })(params as never) as [
        [Tensor, Tensor],
        object,
      ];
      const flat = (tree.leaves(grads) as Tensor[]).map((leaf) => reshape(leaf, { shape: [leaf.size] }));
      return concat([metrics, ...flat]);
    });
    this.#update = program((state: S, flat: Tensor, rate: Tensor) => {
      let at = 0;
      const gradients = tree.map(state.params, (leaf) => {
        const { shape, size } = leaf as Tensor;
        const part = slice(flat, { start: [at], end: [at + size] });
        at += size;
        return reshape(part, { shape });
      });
      return method.update(state, gradients as S["params"], rate);
    }, { donate: [0] });
  }

  /** For the log: the program of the gradients. */
  get program(): Pick<Compiled<never[], unknown>, "programs"> {
    return this.#gradients;
  }

  /** Takes a step together with the other ranks; returns the next state and the metrics of the whole batch. */
  async step(ranks: Ranks, state: S, batch: Patches, rate: number, step: number): Promise<readonly [S, Tensor]> {
    const share = this.#parts / ranks.size;
    const own = Array.from({ length: share }, (_, k) => ranks.rank * share + k);
    const samples = batch.image.shape[0] / this.#parts;
    const inputs = own.map((part) => ({
      patches: tree.map(
        batch,
        (whole) => slice(whole as Tensor, { start: [part * samples], end: [(part + 1) * samples] }),
      ) as Patches,
      key: this.#training.key(step, part),
    }));
    /** Reads what each part gives while the next one is computed. */
    const summed = async (compute: (input: (typeof inputs)[number]) => Promise<Tensor>): Promise<Float32Array> => {
      const results = inputs.map(compute);
      const values: Float32Array[] = [];
      for (const result of results) {
        using value = await result;
        values.push(await value.data() as Float32Array);
      }
      return treeSum(values);
    };
    const call = CALLS * step;
    const coupled = await summed(({ patches, key }) => this.#sums(state.params, patches, key));
    const totals = tensor(await ranks.sum(call, coupled, true));
    const mine = await summed(({ patches, key }) => this.#gradients(state.params, patches, key, totals));
    const parameters = (tree.leaves(state.params) as Tensor[]).reduce((sum, { size }) => sum + size, 0);
    const cut = mine.length - parameters;
    // Counts of voxels are beyond f16.
    const metrics = tensor(Float32Array.from(await ranks.sum(call + 1, mine.slice(0, cut), true)));
    const gradients = tensor(Float32Array.from(await ranks.sum(call + 2, mine.slice(cut))));
    let next = await this.#update(state, gradients, rate);
    if (ranks.size > 1 && step % COMPARE === 0) next = await this.#compare(ranks, next, step, call + 3);
    return [next, metrics];
  }

  /** Compares the weights of the ranks, says how far they differ, and lets all go on from those of rank 0. */
  async #compare(ranks: Ranks, state: S, step: number, call: number): Promise<S> {
    const leaves = tree.leaves(state.params) as Tensor[];
    const flat = Float32Array.from(
      (await Promise.all(leaves.map(async (leaf) => [...await leaf.data() as Float32Array]))).flat(),
    );
    const all = await ranks.compare(call, flat);
    if (ranks.rank === 0) {
      all.forEach((other, rank) => {
        let most = 0;
        for (let k = 0; k < flat.length; k++) most = Math.max(most, Math.abs(flat[k] - other[k]));
        if (rank === 0 || this.#drift.get(rank) === most) return;
        this.#drift.set(rank, most);
        const told = most > 0 ? `differ by at most ${most.toExponential(1)}` : "are equal";
        print(`The weights of rank ${rank} and rank 0 ${told} after step ${step}`);
      });
      return state;
    }
    let at = 0;
    const params = tree.map(state.params, (leaf) => {
      const { shape, size } = leaf as Tensor;
      return tensor(all[0].slice(at, at += size), { shape });
    });
    return { ...state, params };
  }

  /** Opens the ranks of a fold, for rank 0. */
  async open(options: RankEntries, name: string): Promise<RankLeader<S>> {
    if (options.ranks === 1) return { ranks: alone, begin: () => undefined };
    const { ranks, at, exchange } = options;
    const root = await RankRoot.open({
      ranks,
      at,
      half: exchange === "f16",
      devices: splitList(options.rankDevices),
    });
    if (at === "") {
      root.start((rank, address) => [
        ...commandOf(scriptName() ?? "train_unet"),
        `--rank=${rank}`,
        `--ranks=${ranks}`,
        `--at=${address}`,
        `--exchange=${exchange}`,
      ]);
    }
    print(`${ranks} ranks at ${at || "this machine"}; ${this.#parts} micro-batches a step`);
    const { run, options: own } = this.#training;
    const part = own.fold === "all" ? "all" : name.replace("fold ", "");
    const about = { options: { ...own, run: "", resume: run.path, overwrite: false, fold: part } };
    return { ranks: root, begin: (step, state) => root.begin(step, about, () => saveSafetensors(state)) };
  }

  /** Computes this rank's parts until rank 0 ends it. */
  async serve({ ranks, welcome }: Member, initial: S, rate: (step: number) => number, steps: number): Promise<void> {
    const { split } = this.#training.folds[0];
    let state = loadParameters(initial, loadSafetensors(welcome.state).tensors) as S;
    for (let step = welcome.step; step <= steps; step++) {
      const batch = await this.#training.batch(split, step);
      const [next, metrics] = await this.step(ranks, state, batch, rate(step), step);
      metrics.dispose();
      state = next;
    }
    ranks.close();
  }
}
