/** Ranks of one training: rank 0 trains as ever, the others compute parts of its steps. Messages go by ZeroMQ. */
import { platform } from "#platform";
import { VoxgradError } from "../../core/errors.ts";
import { fromHalf, toHalf } from "../../core/dtype.ts";
import { print } from "../run/logging.ts";
import { treeSum } from "./tree_sum.ts";

type Socket = AsyncIterable<Uint8Array[]> & { send(parts: unknown[]): Promise<void>; close(): void };
interface Sockets {
  readonly Router: new (
    options?: object,
  ) => Socket & { bind(at: string): Promise<void>; readonly lastEndpoint: string };
  readonly Dealer: new (options?: object) => Socket & { connect(at: string): void };
}

/** The sockets of the host. */
async function sockets(): Promise<Sockets> {
  if (!platform.openSockets) throw new VoxgradError("--ranks: a page is one rank; train on several in Node or Deno");
  return await platform.openSockets() as Sockets;
}

/** What a rank learns when it joins. */
export interface Welcome {
  /** The options of rank 0, for the fold that it trains. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The step that is under way, from 1. */
  readonly step: number;
  /** The state before it, as safetensors. */
  readonly state: Uint8Array;
}

/** A step's exchanges: its calls are numbered from this times the step. */
export const CALLS = 4;

/** Adds vectors over all ranks, in the order of the ranks; each call has a number of its own. */
export interface Ranks {
  readonly rank: number;
  readonly size: number;
  /** @param exact travels as f32 in any case */
  sum(call: number, part: Float32Array, exact?: boolean): Promise<Float32Array>;
  /** Rank 0: the vectors of all ranks. Others get back that of rank 0. */
  compare(call: number, part: Float32Array): Promise<readonly Float32Array[]>;
  close(): void;
}

const text = (bytes: Uint8Array): { type: string; rank: number; call: number; [key: string]: unknown } =>
  JSON.parse(new TextDecoder().decode(bytes));
const json = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

/** Bytes of a vector on the way, f32 or f16. */
function packed(values: Float32Array, half: boolean): Uint8Array {
  if (!half) return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return new Uint8Array(Uint16Array.from(values, toHalf).buffer);
}
function unpacked(bytes: Uint8Array, half: boolean): Float32Array<ArrayBuffer> {
  const own = Uint8Array.from(bytes);
  return half ? Float32Array.from(new Uint16Array(own.buffer), fromHalf) : new Float32Array(own.buffer);
}
/** As the others get it. */
const sent = (values: Float32Array, half: boolean): Float32Array =>
  half ? unpacked(packed(values, true), true) : values;

/** How often a rank that ends is started again. */
const MOST_STARTS = 20;

export interface RankOptions {
  readonly ranks: number;
  /** Address that rank 0 binds and the others connect to, as tcp://HOST:5555; "" for a free one of this machine. */
  readonly at: string;
  /** Gradients travel as f16. */
  readonly half: boolean;
  /** Devices of the ranks that this process starts, as VOXGRAD_ADAPTER takes them; the last one repeats. */
  readonly devices: readonly string[];
}

/** Rank 0. It starts the others itself, unless an address says that something else does. */
export class RankRoot implements Ranks {
  readonly rank = 0;
  readonly size: number;
  readonly #options: RankOptions;
  readonly #socket: InstanceType<Sockets["Router"]>;
  readonly #names = new Map<number, Uint8Array>();
  readonly #waiting = new Map<number, Uint8Array>();
  readonly #parts = new Map<number, Map<number, Float32Array>>();
  readonly #totals = new Map<number, Uint8Array>();
  #arrived: (() => void) | undefined;
  #about: { step: number; message: () => Promise<Uint8Array[]> } | undefined;
  #closed = false;
  readonly #children: { stop(now?: boolean): void }[] = [];
  /** Bytes that were sent and received, for measurements. */
  bytes = 0;

  constructor(socket: InstanceType<Sockets["Router"]>, options: RankOptions) {
    this.#socket = socket;
    this.#options = options;
    this.size = options.ranks;
    void this.#listen();
  }

  static async open(options: RankOptions): Promise<RankRoot> {
    const { Router } = await sockets();
    const socket = new Router({ linger: 0, mandatory: false });
    const at = options.at || "tcp://127.0.0.1:*";
    try {
      await socket.bind(at);
    } catch (error) {
      throw new VoxgradError(`--at ${at}: it cannot be bound (${(error as Error).message}); name a free port`);
    }
    return new RankRoot(socket, options);
  }

  /** Starts ranks of this machine by `words`, and again when they end. */
  start(words: (rank: number, at: string) => readonly string[]): void {
    const { devices, ranks } = this.#options;
    const at = this.#socket.lastEndpoint;
    const begin = async (rank: number): Promise<void> => {
      for (let starts = 0; !this.#closed; starts++) {
        const adapter = devices[Math.min(rank - 1, devices.length - 1)];
        const child = platform.startCommand!(words(rank, at), { adapter });
        this.#children[rank] = child;
        const { code, tail } = await child.ended;
        if (this.#closed || code === 0) return;
        print(`Rank ${rank} ended (${code}) and is started again:\n  ${tail.slice(-4).join("\n  ")}`);
        if (starts >= MOST_STARTS || code === 1) return this.#fail(`rank ${rank}: ${tail.slice(-6).join("\n")}`);
      }
    };
    for (let rank = 1; rank < ranks; rank++) void begin(rank);
  }

  #failure: string | undefined;
  #fail(message: string): void {
    this.#failure = message;
    this.#arrived?.();
  }

  /** Before each step: what a rank that joins now is told. */
  begin(step: number, about: Omit<Welcome, "step" | "state">, state: () => Promise<Uint8Array>): void {
    // Others may be ahead: what they sent for this step stays.
    for (const map of [this.#parts, this.#totals]) {
      for (const call of map.keys()) if (call < CALLS * step) map.delete(call);
    }
    let bytes: Promise<Uint8Array> | undefined;
    this.#about = {
      step,
      message: async () => [json({ type: "welcome", ...about, step }), await (bytes ??= state())],
    };
    for (const [rank, name] of this.#waiting) void this.#welcome(rank, name);
    this.#waiting.clear();
  }

  async #welcome(rank: number, name: Uint8Array): Promise<void> {
    // The state that the step under way has used up is that of no step: the next one welcomes.
    const parts = await this.#about!.message().catch(() => undefined);
    if (!parts) return void this.#waiting.set(rank, name);
    this.#names.set(rank, name);
    await this.#send(name, parts);
  }

  async #send(name: Uint8Array, parts: Uint8Array[]): Promise<void> {
    if (this.#closed) return;
    this.bytes += parts.reduce((sum, part) => sum + part.byteLength, 0);
    await this.#socket.send([name, ...parts]);
  }

  async #listen(): Promise<void> {
    for await (const [name, head, body] of this.#socket) {
      const { type, rank, call } = text(head);
      if (type === "hello") {
        if (this.#about) await this.#welcome(rank, Uint8Array.from(name));
        else this.#waiting.set(rank, Uint8Array.from(name));
        continue;
      }
      this.bytes += body.byteLength;
      const known = this.#names.get(rank);
      // One that this process does not know, for it was begun anew, joins again.
      if (!known) await this.#send(name, [json({ type: "again" })]);
      const total = this.#totals.get(call);
      if (total) await this.#send(name, [json({ type: "total", call }), total]);
      else this.#take(call, rank, unpacked(body, this.#options.half && type === "sum"));
    }
  }

  #take(call: number, rank: number, part: Float32Array): void {
    const list = this.#parts.get(call) ?? new Map<number, Float32Array>();
    list.set(rank, part);
    this.#parts.set(call, list);
    this.#arrived?.();
  }

  /** The vectors of all ranks, in their order. */
  async #all(call: number, own: Float32Array): Promise<Float32Array[]> {
    this.#take(call, 0, own);
    while (this.#parts.get(call)!.size < this.size) {
      if (this.#failure !== undefined) throw new VoxgradError(this.#failure);
      await new Promise<void>((resolve) => (this.#arrived = resolve));
    }
    const list = this.#parts.get(call)!;
    return Array.from({ length: this.size }, (_, rank) => list.get(rank)!);
  }

  async #answer(call: number, total: Float32Array, half: boolean): Promise<void> {
    const bytes = Uint8Array.from(packed(total, half));
    this.#totals.set(call, bytes);
    for (const name of this.#names.values()) await this.#send(name, [json({ type: "total", call }), bytes]);
  }

  async sum(call: number, part: Float32Array, exact = false): Promise<Float32Array> {
    const half = this.#options.half && !exact;
    const total = treeSum(await this.#all(call, sent(part, half)));
    await this.#answer(call, total, half);
    return sent(total, half);
  }

  async compare(call: number, part: Float32Array): Promise<readonly Float32Array[]> {
    const all = await this.#all(call, part);
    await this.#answer(call, part, false);
    return all;
  }

  close(): void {
    this.#closed = true;
    for (const child of this.#children) child?.stop(true);
    this.#socket.close();
  }
}

/** A rank from 1. */
export class RankMember implements Ranks {
  readonly rank: number;
  readonly size: number;
  readonly #socket: InstanceType<Sockets["Dealer"]>;
  readonly #half: boolean;
  readonly #inbox: AsyncIterator<Uint8Array[]>;

  constructor(
    socket: InstanceType<Sockets["Dealer"]>,
    { rank, ranks, half }: { rank: number; ranks: number; half: boolean },
  ) {
    this.#socket = socket;
    this.rank = rank;
    this.size = ranks;
    this.#half = half;
    this.#inbox = socket[Symbol.asyncIterator]();
  }

  static async open(options: { rank: number; ranks: number; half: boolean; at: string }): Promise<RankMember> {
    const { Dealer } = await sockets();
    const socket = new Dealer({ linger: 0 });
    socket.connect(options.at);
    return new RankMember(socket, options);
  }

  /** Asks rank 0 for what to do; resolves when a step begins. */
  async join(): Promise<Welcome> {
    await this.#socket.send([json({ type: "hello", rank: this.rank, call: 0 })]);
    for (;;) {
      const { value: [head, body] } = await this.#inbox.next();
      const { type, ...about } = text(head);
      if (type === "welcome") return { ...about, state: Uint8Array.from(body) } as unknown as Welcome;
    }
  }

  async #ask(type: string, call: number, part: Float32Array): Promise<Float32Array> {
    const half = this.#half && type === "sum";
    await this.#socket.send([json({ type, rank: this.rank, call }), packed(part, half)]);
    for (;;) {
      const { value: [head, body] } = await this.#inbox.next();
      const answer = text(head);
      if (answer.type === "again") throw new VoxgradError(`rank ${this.rank}: rank 0 was begun anew`);
      if (answer.type === "total" && answer.call === call) return unpacked(body, half);
    }
  }

  sum(call: number, part: Float32Array, exact = false): Promise<Float32Array> {
    return this.#ask(exact ? "exact" : "sum", call, part);
  }

  async compare(call: number, part: Float32Array): Promise<readonly Float32Array[]> {
    return [await this.#ask("compare", call, part)];
  }

  close(): void {
    this.#socket.close();
  }
}

/** One process that does all parts itself. */
export const alone: Ranks = {
  rank: 0,
  size: 1,
  sum: async (_, part) => part,
  compare: async (_, part) => [part],
  close: () => undefined,
};
