/** TensorFlow.js on WebGPU, as its users run it: eager operators in tidy, channels last. */
import { createRequire } from "node:module";
import { counters } from "./counters.ts";
import type { Call, Engine, Item, Layout, Peer, Ready } from "./item.ts";
import { offerAdapter } from "../gpu/peer_gpu.ts";

const require = createRequire(import.meta.url);
let tf: Peer;

/** From our layout to theirs, and back. */
const there: Record<Layout, number[] | null> = { plain: null, volume: [0, 2, 3, 4, 1], filter: [2, 3, 4, 1, 0] };
const back: Record<Layout, number[] | null> = { plain: null, volume: [0, 4, 1, 2, 3], filter: [4, 3, 0, 1, 2] };

async function finish(): Promise<void> {
  const backend = tf.backend();
  backend.endComputePassEncoder();
  // There is no encoder if nothing is pending.
  if (backend.commandEncoder) backend.submitQueue();
  await backend.queue.onSubmittedWorkDone();
}

export const engine: Engine = {
  name: "tfjs",
  async open(adapter) {
    const device = await offerAdapter(adapter);
    tf = require("@tensorflow/tfjs");
    require("@tensorflow/tfjs-backend-webgpu");
    if (!(await tf.setBackend("webgpu"))) throw new Error("its WebGPU backend does not start");
    return { version: tf.version.tfjs, device };
  },
  async prepare(item, data) {
    const inputs = item.inputs.map(({ shape, dtype = "f32", layout = "plain" }, k) =>
      tf.tidy(() => {
        const x = tf.tensor(data[k], shape, dtype === "f32" ? "float32" : "int32");
        return there[layout] ? x.transpose(there[layout]) : x;
      })
    );
    await finish();
    return new Run(item, inputs);
  },
};

class Run implements Ready {
  readonly #item: Item;
  readonly #inputs: Peer[];
  readonly #f: Peer;
  #latest: Peer[] = [];

  constructor(item: Item, inputs: Peer[]) {
    if (typeof item.tfjs !== "function") throw new Error(item.tfjs.cannot);
    this.#item = item;
    this.#inputs = inputs;
    this.#f = item.tfjs(tf);
  }

  async call(): Promise<Call> {
    tf.dispose(this.#latest);
    const start = counters.begin();
    const out = tf.tidy(() => this.#f(...this.#inputs));
    const list: Peer[] = Array.isArray(out) ? out : [out];
    await finish();
    const milliseconds = performance.now() - start;
    this.#latest = list;
    return { milliseconds, script: counters.firstWait - start };
  }

  async outputs(): Promise<Float32Array[]> {
    const { outputs = [] } = this.#item;
    const list: Float32Array[] = [];
    for (const [k, x] of this.#latest.entries()) {
      const order = back[outputs[k] ?? "plain"];
      const y = order ? x.transpose(order) : x;
      list.push(Float32Array.from(await y.data()));
      if (order) y.dispose();
    }
    return list;
  }

  drop(): void {
    tf.dispose([this.#inputs, this.#latest]);
  }
}
