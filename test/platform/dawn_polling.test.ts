/** Dawn's polling of a CPU adapter, which must not take a core from the kernels. */
import { performance } from "node:perf_hooks";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";

const { setImmediate: before } = globalThis;
const { kind } = await vg.deviceInfo();
const x = vg.ones([1, 16, 32, 32, 32]);
const w = vg.ones([16, 16, 3, 3, 3]);
const compute = (): Promise<number> => vg.conv3d(x, w, { padding: 1 }).sum().item();

test("slowDawnPolling() leaves the event loop idle while a CPU adapter computes", async () => {
  await compute();
  const before = performance.eventLoopUtilization();
  for (let k = 0; k < 5; k++) await compute();
  const { utilization } = performance.eventLoopUtilization(before);
  if (kind === "software") assert.ok(utilization < 0.5, `the event loop was busy for ${utilization} of the time`);
});

test("slowDawnPolling() shows no one else another setImmediate", async () => {
  const seen = new Set<unknown>([globalThis.setImmediate]);
  let ended = false;
  const computing = compute().then(() => (ended = true));
  while (!ended) {
    seen.add(globalThis.setImmediate);
    await new Promise<void>((resolve) => setImmediate(() => (seen.add(globalThis.setImmediate), resolve())));
    await Promise.resolve().then(() => seen.add(globalThis.setImmediate));
  }
  await computing;
  assert.equal([...seen], [before]);
});

test.after(vg.closeDevice);
test.run();
