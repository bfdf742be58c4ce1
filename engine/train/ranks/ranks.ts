/** Ranks of one training exchange vectors: each rank adds up a slice of all, and sends it to all. By ZeroMQ. */
import { platform } from "#platform";
import { VoxgradError } from "../../core/errors.ts";
import { fromHalves, toHalves } from "./halves.ts";
import { print } from "../run/logging.ts";
import { treeSum } from "./tree_sum.ts";

interface Push {
  readonly events: { on(type: "disconnect", take: () => void): void };
  linger: number;
  connect(at: string): void;
  send(parts: unknown[]): Promise<void>;
  close(): void;
}
interface Pull extends AsyncIterable<Uint8Array[]> {
  readonly lastEndpoint: string;
  bind(at: string): Promise<void>;
  close(): void;
}
/** See Platform.openSockets. */
interface Sockets {
  readonly Push: new (options?: object) => Push;
  readonly Pull: new (options?: object) => Pull;
  bindable(at: string): Promise<string>;
  hostThatReaches(at: string): Promise<string>;
}

async function sockets(): Promise<Sockets> {
  if (!platform.openSockets) throw new VoxgradError("--ranks: a page is one rank; train on several in Node or Deno");
  return await platform.openSockets() as Sockets;
}

/** What a rank learns when a step begins that it did not come to by itself. */
export interface Welcome {
  /** The options of rank 0, for the fold that it trains. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly step: number;
  /** The state before it, as safetensors. */
  readonly state: Uint8Array;
}

/** Thrown by an exchange when a rank has come anew: all begin the step again, from the state of rank 0. */
export class Restart extends Error {}

/** Adds vectors over all ranks, in the order of the ranks; each call has a number of its own. */
export interface Ranks {
  readonly rank: number;
  readonly size: number;
  /** Bytes that this process has sent. */
  readonly bytes: number;
  /** Rank 0, before each step: lets those join who have come anew. */
  ready(step: number, state: () => Promise<Uint8Array>): Promise<void>;
  /** @param exact travels as f32 in any case */
  sum(call: number, part: Float32Array, exact?: boolean): Promise<Float32Array>;
  /** Rank 0: the vectors of all ranks. Others get that of rank 0 alone. */
  compare(call: number, part: Float32Array): Promise<readonly Float32Array[]>;
  close(): void;
}

/** One process that does all parts itself. */
export const alone: Ranks = {
  rank: 0,
  size: 1,
  bytes: 0,
  ready: async () => undefined,
  sum: async (_, part) => part,
  compare: async (_, part) => [part],
  close: () => undefined,
};

interface Head {
  readonly type: "hello" | "welcome" | "part" | "total";
  readonly rank: number;
  /** How often the ranks began together; what was sent before does not count. */
  readonly generation: number;
  readonly call?: number;
  /** hello: address of the rank. */
  readonly at?: string;
  /** welcome: of all ranks. */
  readonly all?: readonly string[];
  readonly step?: number;
  readonly options?: Welcome["options"];
}

const read = (bytes: Uint8Array): Head => JSON.parse(new TextDecoder().decode(bytes));
const json = (head: Head): Uint8Array => new TextEncoder().encode(JSON.stringify(head));

/** Bytes of a vector on the way, f32 or f16. */
const packed = (values: Float32Array, half: boolean): Uint8Array =>
  half ? new Uint8Array(toHalves(values).buffer) : new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
function unpacked(bytes: Uint8Array, half: boolean): Float32Array<ArrayBuffer> {
  // A copy, for it has to begin at a multiple of four bytes.
  const own = new Uint8Array(bytes);
  return half ? fromHalves(new Uint16Array(own.buffer)) : new Float32Array(own.buffer);
}
/** As the others get it. */
const sent = (values: Float32Array, half: boolean): Float32Array =>
  half ? unpacked(packed(values, true), true) : values;

/** Values of a slice at least: shorter vectors are added by fewer ranks. */
const LEAST_SLICE = 1024;
/** How often a rank that ends is started again. */
const MOST_STARTS = 20;
/** Nothing that was sent waits for more memory; the last totals have some seconds to leave. */
const PUSH = { sendHighWaterMark: 0, linger: 5000 };
/** Milliseconds from the end of rank 0 to an error. */
const GRACE = 3000;

export interface RankOptions {
  readonly rank: number;
  readonly ranks: number;
  /** Address that rank 0 binds and the others connect to, as tcp://HOST:5555; "" for a free one of this machine. */
  readonly at: string;
  /** Gradients travel as f16. */
  readonly half: boolean;
  /** Rank 0: what it trains, for those who join. */
  readonly about?: Welcome["options"];
}

export class RankMesh implements Ranks {
  readonly rank: number;
  readonly size: number;
  /** Where this rank listens. */
  readonly at: string;
  bytes = 0;
  readonly #options: RankOptions;
  readonly #sockets: Sockets;
  readonly #pull: Pull;
  /** Addresses, and the sockets to them, by rank. */
  readonly #addresses: string[] = [];
  readonly #peers = new Map<number, { readonly at: string; readonly push: Push }>();
  readonly #children: { stop(now?: boolean): void }[] = [];
  /** What came, by what it is, from whom. */
  readonly #box = new Map<string, { readonly generation: number; readonly from: Map<number, Uint8Array> }>();
  #generation = 0;
  #step = -1;
  /** Somebody has come anew. */
  #stale = true;
  #welcome: (Welcome & { readonly generation: number }) | undefined;
  #wake: () => void = () => undefined;
  #failure: string | undefined;
  #closed = false;

  private constructor(options: RankOptions, own: Sockets, pull: Pull, at: string) {
    this.#options = options;
    this.#sockets = own;
    this.#pull = pull;
    this.rank = options.rank;
    this.size = options.ranks;
    this.at = at;
    this.#addresses[this.rank] = at;
    void this.#listen();
  }

  static async open(options: RankOptions): Promise<RankMesh> {
    const { rank, at } = options;
    const own = await sockets();
    const pull = new own.Pull({ receiveHighWaterMark: 0 });
    if (rank > 0) {
      const host = await own.hostThatReaches(at);
      await pull.bind(`tcp://${host}:*`);
      return new RankMesh(options, own, pull, pull.lastEndpoint);
    }
    try {
      await pull.bind(await own.bindable(at || "tcp://127.0.0.1:*"));
    } catch (error) {
      throw new VoxgradError(`--at ${at}: it cannot be bound (${(error as Error).message}); name a free port`);
    }
    return new RankMesh(options, own, pull, at || pull.lastEndpoint);
  }

  async #listen(): Promise<void> {
    for await (const [first, body] of this.#pull) {
      const head = read(first);
      const { type, rank, generation, call } = head;
      if (type === "hello") {
        this.#addresses[rank] = head.at!;
        this.#stale = true;
      } else if (generation >= this.#generation) {
        if (type === "welcome") {
          head.all!.forEach((at, k) => k > 0 && (this.#addresses[k] = at));
          this.#welcome = { generation, options: head.options!, step: head.step!, state: new Uint8Array(body) };
          this.#stale = true;
        } else {
          const key = `${generation} ${type} ${call}`;
          const list = this.#box.get(key) ?? { generation, from: new Map<number, Uint8Array>() };
          list.from.set(rank, body);
          this.#box.set(key, list);
        }
      }
      this.#wake();
    }
  }

  #woken(): Promise<void> {
    if (this.#failure !== undefined) throw new VoxgradError(this.#failure);
    return new Promise((resolve) => (this.#wake = resolve));
  }

  /** Ends all waiting with an error. */
  #fail(message: string): void {
    if (this.#closed) return;
    this.#failure = message;
    this.#wake();
  }

  #begin(generation: number): void {
    this.#generation = generation;
    this.#stale = false;
    for (const [key, list] of this.#box) if (list.generation < generation) this.#box.delete(key);
  }

  async #send(to: number, head: Omit<Head, "rank" | "generation">, body?: Uint8Array): Promise<void> {
    const at = this.#addresses[to];
    let peer = this.#peers.get(to);
    if (peer?.at !== at) {
      if (peer) {
        peer.push.linger = 0;
        peer.push.close();
      }
      peer = { at, push: new this.#sockets.Push(PUSH) };
      peer.push.connect(at);
      this.#peers.set(to, peer);
      // What it sent last may still be on its way.
      if (to === 0) peer.push.events.on("disconnect", () => setTimeout(() => this.#fail("rank 0 has ended"), GRACE));
    }
    const first = json({ ...head, rank: this.rank, generation: this.#generation });
    this.bytes += first.byteLength + (body?.byteLength ?? 0);
    await peer!.push.send(body ? [first, body] : [first]);
  }

  get #others(): number[] {
    return Array.from({ length: this.size }, (_, rank) => rank).filter((rank) => rank !== this.rank);
  }

  async ready(step: number, state: () => Promise<Uint8Array>): Promise<void> {
    if (this.rank > 0) return;
    const next = step === this.#step + 1;
    this.#step = step;
    if (next && !this.#stale) return;
    while (this.#others.some((rank) => this.#addresses[rank] === undefined)) await this.#woken();
    this.#begin(this.#generation + 1);
    const body = await state();
    const { about: options } = this.#options;
    for (const rank of this.#others) {
      await this.#send(rank, { type: "welcome", all: this.#addresses, step, options }, body);
    }
  }

  /** A rank from 1 says that it is there. */
  async hello(): Promise<void> {
    this.#addresses[0] = this.#options.at;
    await this.#send(0, { type: "hello", at: this.at });
  }

  /** A rank from 1 waits for the step to begin with. */
  async welcome(): Promise<Welcome> {
    while (!this.#welcome) await this.#woken();
    const welcome = this.#welcome;
    this.#welcome = undefined;
    this.#begin(welcome.generation);
    return welcome;
  }

  /** What came from `count` ranks. */
  async #collect(type: "part" | "total", call: number, count: number): Promise<ReadonlyMap<number, Uint8Array>> {
    const key = `${this.#generation} ${type} ${call}`;
    for (;;) {
      if (this.#stale) throw new Restart();
      const from = this.#box.get(key)?.from ?? new Map<number, Uint8Array>();
      if (from.size === count) {
        this.#box.delete(key);
        return from;
      }
      await this.#woken();
    }
  }

  /** Gives each of the first `owners` ranks a slice of all vectors; what they make of them goes to all. */
  async #exchange(
    call: number,
    part: Float32Array,
    { owners, half, combine }: {
      readonly owners: number;
      readonly half: boolean;
      readonly combine: (parts: readonly Float32Array[]) => Float32Array;
    },
  ): Promise<Float32Array> {
    if (this.#stale) throw new Restart();
    const width = Math.ceil(part.length / owners);
    const slice = (owner: number): Float32Array => part.subarray(owner * width, (owner + 1) * width);
    const whole = new Float32Array(part.length);
    for (let k = 1; k <= owners; k++) {
      // Each begins with the one after it, so that no rank gets all slices at once.
      const owner = (this.rank + k) % owners;
      if (owner !== this.rank) await this.#send(owner, { type: "part", call }, packed(slice(owner), half));
    }
    if (this.rank < owners) {
      const others = await this.#collect("part", call, this.size - 1);
      const own = sent(slice(this.rank), half);
      const parts = Array.from(
        { length: this.size },
        (_, rank) => rank === this.rank ? own : unpacked(others.get(rank)!, half),
      );
      const total = packed(combine(parts), half);
      for (let k = 1; k < this.size; k++) await this.#send((this.rank + k) % this.size, { type: "total", call }, total);
      whole.set(unpacked(total, half), this.rank * width);
    }
    const totals = await this.#collect("total", call, this.rank < owners ? owners - 1 : owners);
    for (const [owner, bytes] of totals) whole.set(unpacked(bytes, half), owner * width);
    return whole;
  }

  sum(call: number, part: Float32Array, exact = false): Promise<Float32Array> {
    const owners = Math.max(1, Math.min(this.size, Math.floor(part.length / LEAST_SLICE)));
    return this.#exchange(call, part, { owners, half: this.#options.half && !exact, combine: treeSum });
  }

  async compare(call: number, part: Float32Array): Promise<readonly Float32Array[]> {
    let all: readonly Float32Array[] | undefined;
    const first = await this.#exchange(call, part, {
      owners: 1,
      half: false,
      combine: (parts) => (all = parts)[0],
    });
    return all ?? [first];
  }

  /**
   * Rank 0 starts the others on this machine, and again when they end.
   *
   * @param words command of a rank
   * @param devices of ranks 1 and on, as VOXGRAD_ADAPTER takes them; the last one repeats
   */
  start(words: (rank: number) => readonly string[], devices: readonly string[]): void {
    const begin = async (rank: number): Promise<void> => {
      for (let starts = 0; !this.#closed; starts++) {
        const child = platform.startCommand!(words(rank), { adapter: devices[Math.min(rank, devices.length) - 1] });
        this.#children[rank] = child;
        const { code, tail } = await child.ended;
        if (this.#closed || code === 0) return;
        if (starts >= MOST_STARTS || code === 1) return this.#fail(`rank ${rank}: ${tail.slice(-6).join("\n")}`);
        print(`Rank ${rank} ended (${code}) and is started again:\n  ${tail.slice(-4).join("\n  ")}`);
      }
    };
    for (const rank of this.#others) void begin(rank);
  }

  close(): void {
    this.#closed = true;
    for (const child of this.#children) child?.stop(true);
    for (const { push } of this.#peers.values()) push.close();
    this.#pull.close();
  }
}
