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
import { alone, RankMesh, type Ranks, Restart, type Welcome } from "./ranks.ts";
import { ravel, unravel } from "./ravel.ts";
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
  readonly ranks: RankMesh;
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
  print(`Rank ${rank} of ${options.ranks} waits for rank 0 at ${options.at}`);
  const ranks = await RankMesh.open({ ...options, rank, half: options.exchange === "f16" });
  await ranks.hello();
  return { ranks, welcome: await ranks.welcome() };
}

/** A step in parts. Sums go over the samples of a part; all else is the same in each. */
export interface MicroMethod<S extends { readonly params: object }> {
  /** What couples samples: the part's sums, to be added over all parts. */
  readonly sums: (params: S["params"], patches: Patches) => Tensor;
  /** The part's share of the loss, given those sums of the whole batch, and its metrics (stepMetrics). */
  readonly loss: (params: S["params"], patches: Patches, totals: Tensor, parts: number) => readonly [Tensor, Tensor];
  readonly update: (state: S, gradients: S["params"], rate: Tensor) => S;
}

/** A compiled function, whatever its trees. */
type Program<A extends unknown[], R> = ((...args: A) => Promise<R>) & Pick<Compiled<never[], unknown>, "programs">;
/** What may be compiled: the types of trees are known where a method is made. */
const program = <A extends unknown[], R>(f: unknown, options: { donate?: number[] } = {}): Program<A, R> =>
  compile(f as (x: Tensor) => Tensor, options) as unknown as Program<A, R>;

/** Steps from one comparison of the weights of the ranks to the next; the last step has one too. */
const COMPARE = 50;
/** Exchanges of a step. */
const CALLS = 4;

/** The parts of a step that this process computes, and what it exchanges with the other ranks. */
export class MicroStep<S extends { readonly params: object }> {
  readonly #training: TrainingRun;
  readonly #parts: number;
  /** How far the weights of a rank differed when it was said last. */
  readonly #drift = new Map<number, number>();
  /** Milliseconds and bytes of all steps. */
  readonly #spent = { steps: 0, computing: 0, exchanging: 0, bytes: 0 };
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
    for (;;) {
      await ranks.ready(step, () => saveSafetensors(state));
      try {
        const { metrics, gradients } = await this.#sumOver(ranks, state, batch, step);
        const next = await this.#update(state, gradients, rate);
        const compared = ranks.size > 1 && (step % COMPARE === 0 || step === this.#training.steps);
        return [compared ? await this.#compare(ranks, next, step) : next, metrics];
      } catch (error) {
        if (ranks.rank > 0 || !(error instanceof Restart)) throw error;
      }
    }
  }

  /** Metrics and gradients of the whole batch. */
  async #sumOver(
    ranks: Ranks,
    state: S,
    batch: Patches,
    step: number,
  ): Promise<{ metrics: Tensor; gradients: Tensor }> {
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
      const started = performance.now();
      const results = inputs.map(compute);
      const values: Float32Array[] = [];
      for (const result of results) {
        using value = await result;
        values.push(await value.data() as Float32Array);
      }
      const total = treeSum(values);
      this.#spent.computing += performance.now() - started;
      return total;
    };
    const exchanged = async (call: number, part: Float32Array, exact: boolean): Promise<Tensor> => {
      const [started, bytes] = [performance.now(), ranks.bytes];
      const total = await ranks.sum(CALLS * step + call, part, exact);
      this.#spent.exchanging += performance.now() - started;
      this.#spent.bytes += ranks.bytes - bytes;
      return tensor(new Float32Array(total));
    };
    const coupled = await summed(({ patches, key }) => this.#sums(state.params, patches, key));
    const totals = await exchanged(0, coupled, true);
    const mine = await summed(({ patches, key }) => this.#gradients(state.params, patches, key, totals));
    const parameters = (tree.leaves(state.params) as Tensor[]).reduce((sum, { size }) => sum + size, 0);
    const cut = mine.length - parameters;
    // Counts of voxels are beyond f16.
    const metrics = await exchanged(1, mine.slice(0, cut), true);
    const gradients = await exchanged(2, mine.slice(cut), false);
    this.#spent.steps++;
    return { metrics, gradients };
  }

  /** Compares the weights of the ranks, says how far they differ, and lets all go on from those of rank 0. */
  async #compare(ranks: Ranks, state: S, step: number): Promise<S> {
    const flat = await ravel(state.params);
    let all: readonly Float32Array[];
    try {
      all = await ranks.compare(CALLS * step + 3, flat);
    } catch (error) {
      // Those who come anew begin the next step from this state.
      if (ranks.rank === 0 && error instanceof Restart) return state;
      throw error;
    }
    if (ranks.rank > 0) return { ...state, params: unravel(state.params, all[0]) };
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

  /** Opens the ranks of a fold, for rank 0. */
  async open(options: RankEntries, name: string): Promise<Ranks> {
    if (options.ranks === 1) return alone;
    const { ranks, at, exchange } = options;
    const { run, options: own, folds } = this.#training;
    if (at !== "" && folds.length > 1) throw new ConfigError("--at: ranks train one fold together; name it by --fold");
    const part = own.fold === "all" ? "all" : name.replace("fold ", "");
    const about = { ...own, run: "", resume: run.path, overwrite: false, fold: part };
    const mesh = await RankMesh.open({ rank: 0, ranks, at, half: exchange === "f16", about });
    const words = (rank: number): string[] => [
      ...commandOf(scriptName() ?? "train_unet"),
      `--rank=${rank}`,
      `--ranks=${ranks}`,
      `--at=${mesh.at}`,
      `--exchange=${exchange}`,
    ];
    if (at === "") mesh.start(words, splitList(options.rankDevices));
    print(`${ranks} ranks at ${at || "this machine"}; ${this.#parts} micro-batches a step`);
    return mesh;
  }

  /** Ends the ranks of a fold, and says what a step took. */
  close(ranks: Ranks): void {
    ranks.close();
    const { steps, computing, exchanging, bytes } = this.#spent;
    if (ranks.size === 1 || steps === 0) return;
    const seconds = (milliseconds: number): string => `${(milliseconds / 1000 / steps).toPrecision(3)} s`;
    const sent = `${(bytes / 1e6 / steps).toPrecision(3)} MB`;
    print(`A step of rank 0 computed for ${seconds(computing)}, exchanged for ${seconds(exchanging)} and sent ${sent}`);
  }

  /** Computes this rank's parts until rank 0 ends it. */
  async serve({ ranks, welcome }: Member, initial: S, rate: (step: number) => number, steps: number): Promise<void> {
    const { split } = this.#training.folds[0];
    const stateOf = (from: Welcome): S => loadParameters(initial, loadSafetensors(from.state).tensors) as S;
    let [step, state] = [welcome.step, stateOf(welcome)];
    while (step <= steps) {
      try {
        const batch = await this.#training.batch(split, step);
        const [next, metrics] = await this.step(ranks, state, batch, rate(step), step);
        metrics.dispose();
        state = next;
        step++;
      } catch (error) {
        if (!(error instanceof Restart)) throw error;
        const again = await ranks.welcome();
        [step, state] = [again.step, stateOf(again)];
      }
    }
    ranks.close();
  }
}
