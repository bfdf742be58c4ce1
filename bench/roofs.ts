/** What the adapter can do at best, measured by two kernels: to be replaced by the engine's own when it has them. */
import { device as openDevice } from "../engine/gpu/mod.ts";

export interface Roofs {
  /** Of a copy: bytes read and written. */
  readonly gigabytesPerSecond: number;
  /** Of f32 multiply-adds in registers, two operations each. */
  readonly gigaflopsPerSecond: number;
}

const WORKGROUP = 256;
const CHAINS = 8;
const UNROLLED = 16;
const ROUNDS = 5;

const copy = `
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) count: vec3u) {
  for (var i = id.x; i < arrayLength(&y); i += count.x * ${WORKGROUP}u) {
    y[i] = x[i];
  }
}`;

const chains = (text: (k: number) => string): string => Array.from({ length: CHAINS }, (_, k) => text(k)).join(" ");
/** x is [factor, addend, turns, ...], so that the compiler knows nothing. */
const multiplyAdds = `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let m = x[0];
  let b = x[1];
  let turns = u32(x[2]);
  ${chains((k) => `var s${k} = f32(id.x + ${k}u);`)}
  for (var turn = 0u; turn < turns; turn++) {
    ${Array.from({ length: UNROLLED }, () => chains((k) => `s${k} = fma(s${k}, m, b);`)).join("\n    ")}
  }
  y[id.x] = ${Array.from({ length: CHAINS }, (_, k) => `s${k}`).join(" + ")};
}`;

/** Measures both in about a second, the best of a few rounds. */
export async function measureRoofs(): Promise<Roofs> {
  const { gpu, target } = await openDevice();
  const bytes = target.software ? 2 ** 25 : Math.min(2 ** 28, target.maxBindingBytes);
  const [invocations, turns] = target.software ? [2 ** 12, 2 ** 7] : [2 ** 18, 2 ** 11];
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
  const [x, y] = [gpu.createBuffer({ size: bytes, usage }), gpu.createBuffer({ size: bytes, usage })];
  gpu.queue.writeBuffer(x, 0, new Float32Array([0.5, 0.25, turns]));
  try {
    const shortest = async (code: string, workgroups: number, repeats: number): Promise<number> => {
      const module = gpu.createShaderModule({ code });
      const pipeline = await gpu.createComputePipelineAsync({ layout: "auto", compute: { module } });
      const entries = [x, y].map((buffer, binding) => ({ binding, resource: { buffer } }));
      const group = gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
      let best = Infinity;
      // The first round warms up.
      for (let round = -1; round < ROUNDS; round++) {
        const start = performance.now();
        const encoder = gpu.createCommandEncoder();
        for (let k = 0; k < repeats; k++) {
          const pass = encoder.beginComputePass();
          pass.setPipeline(pipeline);
          pass.setBindGroup(0, group);
          pass.dispatchWorkgroups(workgroups);
          pass.end();
        }
        gpu.queue.submit([encoder.finish()]);
        await gpu.queue.onSubmittedWorkDone();
        if (round >= 0) best = Math.min(best, (performance.now() - start) / repeats);
      }
      return best;
    };
    // On a GPU several in a row, so that the way to the device and back does not count.
    const copies = target.software ? 1 : 20;
    const copied = await shortest(copy, Math.min(2 ** 14, bytes / 16 / WORKGROUP), copies);
    const computed = await shortest(multiplyAdds, invocations / WORKGROUP, target.software ? 1 : 4);
    return {
      gigabytesPerSecond: (2 * bytes) / copied / 1e6,
      gigaflopsPerSecond: (2 * invocations * CHAINS * UNROLLED * turns) / computed / 1e6,
    };
  } finally {
    x.destroy();
    y.destroy();
  }
}
