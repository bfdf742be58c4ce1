/** voxgrad, as its users run it: compiled functions on tensors that lie on the device. */
import { readFile } from "node:fs/promises";
import * as vg from "../engine/mod.ts";
import { Tensor } from "../engine/mod.ts";
import { device as openDevice, type Device, upload } from "../engine/gpu/mod.ts";
import { lower } from "../engine/compile/lower.ts";
import { planMemory } from "../engine/compile/plan.ts";
import { schedule } from "../engine/compile/schedule.ts";
import { counters } from "./counters.ts";
import type { Call, Engine, Facts, Item, Ready } from "./item.ts";

const listOf = (result: Tensor | Tensor[]): Tensor[] => (Array.isArray(result) ? result : [result]);

export const engine: Engine = {
  name: "voxgrad",
  async open(adapter) {
    const { name } = await vg.openDevice(adapter ? { adapter } : {});
    const own = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
    counters.watch();
    return { version: own.version, device: name };
  },
  async prepare(item, inputs) {
    return new Run(item, await openDevice(), inputs);
  },
};

/** Of the process's one device. */
let roofs: vg.Roofs | undefined;

class Run implements Ready {
  readonly #item: Item;
  readonly #device: Device;
  readonly #f: (...inputs: Tensor[]) => Tensor | Tensor[];
  readonly #compiled: vg.Compiled<Tensor[], Tensor | Tensor[]>;
  readonly #inputs: Tensor[];
  #latest: Tensor[] = [];

  constructor(item: Item, device: Device, inputs: readonly (Float32Array | Int32Array)[]) {
    this.#item = item;
    this.#device = device;
    this.#f = item.ours(vg);
    const carried = item.carry ? Array.from({ length: this.#carried(item) }, (_, k) => k) : [];
    this.#compiled = vg.compile(this.#f, { donate: carried, precision: item.precision ?? "f32" });
    this.#inputs = item.inputs.map(({ shape, dtype = "f32" }, k) => {
      const t = vg.tensor(inputs[k]!, { shape, dtype });
      if (t.source.kind === "host") t.settle(upload(device, t.source.data, t.dtype, `${t}`));
      return t;
    });
  }

  /** All but the images and labels, which are the last two inputs. */
  #carried(item: Item): number {
    return item.inputs.length - 2;
  }

  async call(): Promise<Call> {
    const { read = "none", carry } = this.#item;
    if (!carry) for (const t of this.#latest) t.dispose();
    else this.#latest[0]?.dispose();
    const start = counters.begin();
    const out = listOf(await this.#compiled(...this.#inputs));
    if (read === "first") await out[0]!.item();
    else if (read === "all") await Promise.all(out.map((t) => t.data()));
    else await this.#device.gpu.queue.onSubmittedWorkDone();
    const end = performance.now();
    if (carry) out.slice(1).forEach((t, k) => (this.#inputs[k] = t));
    this.#latest = out;
    return { milliseconds: end - start, script: counters.firstWait - start };
  }

  outputs(): Promise<Float32Array[]> {
    return Promise.all(this.#latest.map(async (t) => Float32Array.from(await t.data())));
  }

  build(): number {
    const start = performance.now();
    const placeholders = this.#inputs.map((t) => new Tensor(t.shape, t.dtype, { kind: "placeholder" }));
    const outputs = listOf(this.#f(...placeholders));
    planMemory(schedule(lower(outputs, this.#device.target, placeholders), this.#device.target));
    return performance.now() - start;
  }

  async facts(): Promise<Facts> {
    const { dispatches, pipelines, peakBytes } = this.#compiled.programs()[0]!;
    let measured: Facts = {};
    if (this.#device.target.features.has("timestamp-query")) {
      const profiled = await vg.profile(() => this.call());
      const total = (key: "flops" | "bytes"): number => profiled.dispatches.reduce((sum, d) => sum + d[key], 0);
      roofs ??= await vg.measureRoofs();
      const { gigabytesPerSecond, gigaflopsPerSecond } = roofs;
      const least = (d: vg.DispatchTime): number =>
        Math.max(d.bytes / gigabytesPerSecond, d.flops / gigaflopsPerSecond) / 1e6;
      measured = {
        flops: total("flops"),
        bytes: total("bytes"),
        leastMs: profiled.dispatches.reduce((sum, d) => sum + least(d), 0),
        profile: profiled.table(roofs),
      };
    }
    return { dispatches, pipelines, peakBytes, ...measured };
  }

  drop(): void {
    for (const t of new Set([...this.#inputs, ...this.#latest])) t.dispose();
    this.#compiled.dispose();
  }
}
