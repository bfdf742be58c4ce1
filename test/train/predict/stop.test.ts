/** Predictions that are stopped, and what outlives a device. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import { fail } from "../../../engine/core/errors.ts";
import { makeVolume } from "../../../engine/imaging/mod.ts";
import { predictor, resident } from "../../../engine/train/mod.ts";
import { device } from "../../../engine/gpu/mod.ts";
import { networkFromPlan } from "../../../models/mod.ts";
import { noise } from "../../helpers/noise.ts";
import { planFor } from "../../helpers/plans.ts";
import { failure, message } from "../../helpers/refuse.ts";

test.before.each(vg.closeDevice);
test.after(vg.closeDevice);

const plan = planFor({});
const network = networkFromPlan(plan);
const image = makeVolume(Float32Array.from(noise(20 * 18 * 16, 3)), {
  shape: [20, 18, 16],
  affine: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1],
  name: "scan",
});
/** Parameters with values on the host, as of a file. */
async function onHost(seed: number): Promise<object> {
  const bytes = await vg.saveSafetensors(network.init(vg.random.key(seed)));
  await vg.closeDevice();
  return vg.loadParameters(network.init(vg.random.key(0)), vg.loadSafetensors(bytes).tensors);
}

for (const [kind, folds, mirror] of [["one network", 1, []], ["an ensemble with mirrors", 2, [1, 2]]] as const) {
  test(`predict() of ${kind} ends within one patch by its signal, and frees what it held`, async () => {
    const params = [];
    for (let seed = 0; seed < folds; seed++) params.push(await onHost(seed));
    const { predict, dispose } = predictor([{ network, params, plan }], { mirror });
    const wanted = await predict(image, { probabilities: true });
    await predict(image);
    const { live, arena } = vg.memoryStats();
    for (const after of [1, 2, 5]) {
      const controller = new AbortController();
      let done = 0;
      const error = await failure(
        () =>
          predict(image, {
            signal: controller.signal,
            onProgress: (now) => {
              done = now;
              if (now === after) controller.abort(new Error("enough"));
            },
          }),
        Error,
      );
      assert.equal([error.message, done], ["enough", after]);
      assert.equal([vg.memoryStats().live, vg.memoryStats().arena], [live, arena]);
    }
    // One of two is stopped, the other is right.
    const controller = new AbortController();
    const stopped = predict(image, { signal: controller.signal, onProgress: (now) => now === 3 && controller.abort() });
    const [one, two] = await Promise.allSettled([stopped, predict(image, { probabilities: true })]);
    assert.is(one.status, "rejected");
    assert.equal(two.status === "fulfilled" && two.value.probabilities!.data, wanted.probabilities!.data);
    dispose();
    assert.equal([vg.memoryStats().live, vg.memoryStats().arena], [0, 0]);
  });
}

test("predictor() takes a signal for all of its predictions", async () => {
  const controller = new AbortController();
  const { predict } = predictor([{ network, params: [await onHost(1)], plan }], { signal: controller.signal });
  await predict(image);
  controller.abort();
  assert.is((await failure(() => predict(image), DOMException)).name, "AbortError");
  assert.ok(await predict(image, { signal: new AbortController().signal }), "its own takes the place");
});

test("predict() frees what the other networks hold when one fails", async () => {
  const failing = { ...network, apply: () => fail("apply", "as asked") };
  const params = [await onHost(1)];
  const other = { ...plan, network: { ...plan.network, features: [4, 9] } };
  const { predict, dispose } = predictor([{ network, params, plan }, { network: failing, params, plan: other }]);
  assert.match(await message(() => predict(image)), /apply: as asked/);
  dispose();
  assert.is(vg.memoryStats().live, 0);
});

test("resident() puts parameters on each device anew, once for all calls, and tells after dispose()", async () => {
  let builds = 0;
  const scale = resident("scale", { weight: vg.tensor([2, 3]) }, ({ weight }) => {
    builds++;
    const f = vg.compile((w: vg.Tensor, x: vg.Tensor) => w.mul(x).sum());
    return { run: async (x: number) => (await f(weight, vg.tensor([x, x]))).item(), dispose: f.dispose };
  });
  assert.equal(await Promise.all([1, 2, 3].map((x) => scale.use(({ run }) => run(x)))), [5, 10, 15]);
  assert.is(builds, 1);
  await vg.closeDevice();
  assert.is(await scale.use(({ run }) => run(4)), 20);
  (await device()).gpu.destroy();
  assert.is(await scale.use(({ run }) => run(5)), 25);
  assert.is(builds, 3);
  assert.match(await message(() => scale.use(() => fail("work", "its own error"))), /^work: its own error/);
  assert.is(builds, 3, "an error that is no lost device is thrown at once");
  scale.dispose();
  assert.match(await message(() => scale.use(({ run }) => run(4))), /^scale: it was disposed of; open it again/);
  assert.is(vg.memoryStats().arena, 0);
  const lazy = resident("lazy", { weight: vg.ones([2]).mul(2) }, () => ({ dispose: () => {} }));
  assert.match(await message(() => lazy.use(async () => 1)), /^lazy: parameters are tensors with values on the host/);
});

test("resident() frees what was put on the device when there is no room for the rest", async () => {
  await vg.openDevice({ memoryLimit: 1e5 });
  const params = [vg.tensor(new Float32Array(20_000)), vg.tensor(new Float32Array(20_000))];
  const large = resident("large", params, () => ({ dispose: () => {} }));
  assert.match(await message(() => large.use(async () => 1)), /the limit is 100000/);
  assert.is(vg.memoryStats().live, 0);
});

test.run();
