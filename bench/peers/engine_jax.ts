/** jax-js on WebGPU, as its users run it: jitted functions. */
import { readFile } from "node:fs/promises";
import { counters } from "./counters.ts";
import type { Call, Engine, Item, Peer, Ready } from "./item.ts";
import { offerAdapter } from "../gpu/peer_gpu.ts";

/** A name that the type checker does not resolve, because peers may be missing. */
const packageName: string = "@jax-js/jax";
let jax: Peer;

export const engine: Engine = {
  name: "jax-js",
  async open(adapter) {
    const device = await offerAdapter(adapter);
    jax = await import(packageName);
    await jax.init("webgpu");
    jax.defaultDevice("webgpu");
    const at = new URL("./node_modules/@jax-js/jax/package.json", import.meta.url);
    return { version: JSON.parse(await readFile(at, "utf8")).version, device };
  },
  async prepare(item, data) {
    const inputs = item.inputs.map(({ shape, dtype = "f32" }, k) =>
      jax.numpy.array(data[k], { shape: [...shape], dtype: dtype === "f32" ? jax.numpy.float32 : jax.numpy.int32 })
    );
    await jax.blockUntilReady(inputs);
    return new Run(item, inputs);
  },
};

class Run implements Ready {
  readonly #item: Item;
  readonly #inputs: Peer[];
  readonly #f: Peer;
  readonly #jitted: Peer;
  #latest: Peer[] = [];

  constructor(item: Item, inputs: Peer[]) {
    if (typeof item.jax !== "function") throw new Error(item.jax.cannot);
    this.#item = item;
    this.#inputs = inputs;
    this.#f = item.jax(jax);
    this.#jitted = jax.jit(this.#f);
  }

  async call(): Promise<Call> {
    const { read = "none", carry } = this.#item;
    if (!carry) { for (const x of this.#latest) x.dispose(); }
    else this.#latest[0]?.dispose();
    // Calls consume their arguments; carried ones are not needed afterwards.
    const carried = carry ? this.#inputs.length - 2 : 0;
    const start = counters.begin();
    const out = this.#jitted(...this.#inputs.map((x, k) => (k < carried ? x : x.ref)));
    const list: Peer[] = Array.isArray(out) ? out : [out];
    if (read === "all") await Promise.all(list.map((x) => x.ref.data()));
    else {
      await jax.blockUntilReady(list);
      if (read === "first") await list[0].ref.data();
    }
    const milliseconds = performance.now() - start;
    if (carry) list.slice(1).forEach((x, k) => (this.#inputs[k] = x));
    this.#latest = list;
    return { milliseconds, script: counters.firstWait - start };
  }

  outputs(): Promise<Float32Array[]> {
    return Promise.all(this.#latest.map(async (x) => Float32Array.from(await x.ref.data())));
  }

  /** Tracing only: later phases of jit cannot be called separately. */
  build(): number {
    const start = performance.now();
    const { jaxpr } = jax.makeJaxpr(this.#f)(...this.#inputs.map((x) => x.ref));
    const end = performance.now();
    jaxpr.dispose?.();
    return end - start;
  }

  drop(): void {
    for (const x of new Set([...this.#inputs, ...this.#latest])) x.dispose();
    this.#jitted.dispose();
  }
}
