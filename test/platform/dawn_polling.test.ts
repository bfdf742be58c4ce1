/** Dawn's polling of a CPU adapter, which must not take a core from the kernels. */
import { performance } from "node:perf_hooks";
import { setImmediate as immediately } from "node:timers/promises";
import { promisify } from "node:util";
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { slowDawnPolling } from "../../engine/platform/adapters/dawn_polling.ts";

const { kind } = await vg.deviceInfo();

test("slowDawnPolling() leaves the event loop idle while a CPU adapter computes", async () => {
  const x = vg.ones([1, 16, 32, 32, 32]);
  const w = vg.ones([16, 16, 3, 3, 3]);
  const compute = (): Promise<number> => vg.conv3d(x, w, { padding: 1 }).sum().item();
  await compute();
  const before = performance.eventLoopUtilization();
  for (let k = 0; k < 5; k++) await compute();
  const { utilization } = performance.eventLoopUtilization(before);
  if (kind === "software") assert.ok(utilization < 0.5, `the event loop was busy for ${utilization} of the time`);
});

test("slowDawnPolling() leaves setImmediate as it was for everyone else", async () => {
  slowDawnPolling();
  const order: unknown[] = [];
  await new Promise<void>((resolve) => {
    setTimeout(() => order.push("timer"), 50);
    setImmediate((...args: unknown[]) => order.push(args), 1, "a");
    setImmediate(() => resolve());
  });
  assert.equal(order, [[1, "a"]]);
  assert.is(await promisify(setImmediate)("value"), "value");
  assert.is(await immediately("value"), "value");
});

test.after(vg.closeDevice);
test.run();
