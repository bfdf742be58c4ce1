/** voxgrad, as its users run it: compiled functions on tensors that lie on the device. */
import { readFile } from "node:fs/promises";
import * as vg from "../../engine/mod.ts";
import { Tensor } from "../../engine/mod.ts";
import { type Device, device as openDevice, floorsOf, upload } from "../../engine/gpu/mod.ts";
import { lower } from "../../engine/compile/graph/lower.ts";
import { planProgram } from "../../engine/compile/plan_program.ts";
import { traceIn } from "../../engine/compile/traced_program.ts";
import { choicesOf, tuneChoices } from "../../engine/compile/tune.ts";
import { counters } from "./counters.ts";
import type { Call, Engine, Facts, Item, Ready, Work } from "./item.ts";

const listOf = (result: Tensor | Tensor[]): Tensor[] => (Array.isArray(result) ? result : [result]);

/** Roofs of the process's device. */
let roofs: Promise<vg.Roofs> | undefined;
export const roofsOnce = (): Promise<vg.Roofs> => (roofs ??= vg.measureRoofs());

export const engineIn = (precision: vg.Precision): Engine => ({
  name: "voxgrad",
  async open(adapter) {
    const { name } = await vg.openDevice(adapter ? { adapter } : {});
    const own = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
    await counters.watch();
    return { version: own.version, device: name };
  },
  async prepare(item, inputs) {
    return new Run(item, await openDevice(), inputs, precision);
  },
});

export const engine: Engine = engineIn("f32");

class Run implements Ready {
  readonly #item: Item;
  readonly #device: Device;
  readonly #f: (...inputs: Tensor[]) => Tensor | Tensor[];
  readonly #compiled: vg.Compiled<Tensor[], Tensor | Tensor[]>;
  readonly #inputs: Tensor[];
  readonly #precision: vg.Precision;
  #latest: Tensor[] = [];

  constructor(
    item: Item,
    device: Device,
    inputs: readonly (Float32Array | Int32Array)[],
    precision: vg.Precision = "f32",
  ) {
    this.#item = item;
    this.#device = device;
    this.#f = item.ours(vg);
    const carried = item.carry ? Array.from({ length: this.#carried(item) }, (_, k) => k) : [];
    this.#precision = item.precision ?? precision;
    this.#compiled = vg.compile(this.#f, { donate: carried, precision: this.#precision });
    this.#inputs = item.inputs.map(({ shape, dtype = "f32", half = false }, k) => {
      const t = vg.tensor(inputs[k], { shape, dtype });
      if (t.source.kind === "host") t.settle(upload(device, t.source.data, t.dtype, `${t}`));
      return half && precision === "mixed" ? t.cast("f16") : t;
    });
  }

  /** All but the images and labels, which are the last two inputs. */
  #carried(item: Item): number {
    return item.inputs.length - 2;
  }

  async call(count = 1): Promise<Call> {
    const { read = "none", carry } = this.#item;
    let out = this.#latest;
    const start = counters.begin();
    for (let k = 0; k < count; k++) {
      // Carried outputs have become arguments.
      for (const t of carry ? out.slice(0, 1) : out) t.dispose();
      out = listOf(await this.#compiled(...this.#inputs));
      if (carry) out.slice(1).forEach((t, i) => (this.#inputs[i] = t));
    }
    if (read === "first") await out[0].item();
    else if (read === "all") await Promise.all(out.map((t) => t.data()));
    else await this.#device.gpu.queue.onSubmittedWorkDone();
    const end = performance.now();
    this.#latest = out;
    return { milliseconds: (end - start) / count, script: counters.firstWait - start };
  }

  outputs(): Promise<Float32Array[]> {
    return Promise.all(
      this.#latest.map(async (t) => {
        const data = await t.data();
        return data instanceof Float32Array ? data : Float32Array.from(data);
      }),
    );
  }

  build(): number {
    const start = performance.now();
    const placeholders = this.#inputs.map((t) => new Tensor(t.shape, t.dtype, { kind: "placeholder" }));
    const outputs = listOf(this.#f(...placeholders));
    planProgram(lower(outputs, this.#device.target, placeholders), this.#device.target);
    return performance.now() - start;
  }

  async facts(): Promise<Facts> {
    const { dispatches, pipelines, peakBytes } = this.#compiled.programs()[0];
    let measured: Facts = {};
    if (this.#device.target.features.has("timestamp-query")) {
      const profiled = await vg.profile(() => this.call());
      const total = (key: "flops" | "bytes"): number => profiled.dispatches.reduce((sum, d) => sum + d[key], 0);
      const roofs = await roofsOnce();
      measured = {
        flops: total("flops"),
        bytes: total("bytes"),
        kernelMs: profiled.milliseconds,
        floors: floorsOf(profiled.dispatches, roofs),
        profile: profiled.table(roofs),
      };
    }
    return { dispatches, pipelines, peakBytes, ...measured };
  }

  async slowest(most: number): Promise<Work[]> {
    const { dispatches } = await vg.profile(() => this.call());
    const sums = new Map<string, Work>();
    for (const { work, milliseconds } of dispatches) {
      if (work === undefined) continue;
      const sum = sums.get(work) ?? { work, dispatches: 0, milliseconds: 0 };
      sums.set(work, { work, dispatches: sum.dispatches + 1, milliseconds: sum.milliseconds + milliseconds });
    }
    return [...sums.values()].sort((a, b) => b.milliseconds - a.milliseconds).slice(0, most);
  }

  async tune(work: string): Promise<vg.TunedKernel> {
    const mixed = this.#precision === "mixed";
    const { outputs, placeholders } = traceIn(mixed, this.#f as (...args: unknown[]) => unknown, this.#inputs);
    const choice = choicesOf(this.#device, outputs, placeholders).find(({ key }) => key === work);
    if (!choice) throw new Error("there is but one variant here");
    const [kernel] = await tuneChoices(this.#device, [choice]);
    if (!kernel) throw new Error("there is too little memory to time its variants");
    // Programs are built again.
    this.#device.tuned.version++;
    return kernel;
  }

  drop(): void {
    for (const t of new Set([...this.#inputs, ...this.#latest])) t.dispose();
    this.#compiled.dispose();
  }
}
