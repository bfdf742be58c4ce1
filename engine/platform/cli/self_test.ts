// GPUBufferUsage and GPUMapMode are no globals in Node.
const [MAP_READ, COPY_SRC, COPY_DST, STORAGE] = [0x1, 0x4, 0x8, 0x80];
const count = 1000;
const source = /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> values: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < ${count}u) { values[id.x] = id.x * id.x + 7u; }
}`;

/**
 * Runs one small kernel on an adapter and checks every number.
 *
 * @returns what went wrong, or undefined
 */
export async function selfTest(adapter: GPUAdapter): Promise<string | undefined> {
  const device = await adapter.requestDevice();
  try {
    device.pushErrorScope("validation");
    const pipeline = await device.createComputePipelineAsync({
      layout: "auto",
      compute: { module: device.createShaderModule({ code: source }), entryPoint: "main" },
    });
    const size = count * 4;
    const values = device.createBuffer({ size, usage: STORAGE | COPY_SRC });
    const result = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
    const layout = pipeline.getBindGroupLayout(0);
    const group = device.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer: values } }] });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(Math.ceil(count / 64));
    pass.end();
    encoder.copyBufferToBuffer(values, 0, result, 0, size);
    device.queue.submit([encoder.finish()]);
    await result.mapAsync(MAP_READ);
    const error = await device.popErrorScope();
    if (error) return `wrongly: ${error.message}`;
    const wrong = new Uint32Array(result.getMappedRange()).findIndex((value, index) => value !== index * index + 7);
    return wrong < 0 ? undefined : `wrongly: value ${wrong} of ${count} is not what it should be`;
  } catch (error) {
    return `not at all: ${(error as Error).message}`;
  } finally {
    device.destroy();
  }
}
