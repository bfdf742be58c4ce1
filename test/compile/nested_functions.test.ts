/** A function of a function in one kernel against the same in two: compilers simplify one through the other. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, openDevice, type Tensor, tensor } from "../../engine/mod.ts";

test.after(closeDevice);

const x = [0.3, -0.6, 0.9, 0.05, -0.4, 2.5];
const names = ["tanh", "mish", "sin", "tan", "atan", "sinh", "erf", "sigmoid", "softplus", "exp", "expm1"] as const;
const inner: Record<string, (x: Tensor) => Tensor> = {
  "sigmoid(x)": (x) => x.sigmoid(),
  "softplus(x)": (x) => x.softplus(),
  "x tanh(x)": (x) => x.mul(x.tanh()),
  "-atan(x)": (x) => x.atan().neg(),
  "cosh(x)": (x) => x.cosh(),
};

for (const adapter of [undefined, "lavapipe"]) {
  test(`functions of functions of x are right in one kernel, adapter ${adapter ?? "of the tests"}`, async () => {
    await closeDevice();
    try {
      await openDevice(adapter === undefined ? {} : { adapter });
    } catch (error) {
      if (adapter === undefined) throw error;
      console.log(`Left out: ${(error as Error).message.split("\n")[0]}`);
      return;
    }
    for (const [name, f] of Object.entries(inner)) {
      const between = tensor(await f(tensor(x)).data());
      for (const outer of names) {
        const [once, twice] = [await f(tensor(x))[outer]().data(), await between[outer]().data()];
        const worst = Math.max(...Array.from(twice, (y, k) => Math.abs(once[k] - y) / (Math.abs(y) + 1e-3)));
        assert.ok(worst < 2e-5, `${outer}(${name}) is ${[...once]}, wanted ${[...twice]}`);
      }
    }
    const small = await tensor([-0, 0, 1e-20, -1e-5, NaN, Infinity, -Infinity]).sigmoid().tanh().data();
    assert.ok(Math.abs(small[0] - Math.tanh(0.5)) < 1e-6 && Number.isNaN(small[4]) && small[6] === 0, `${[...small]}`);
    const mish = await tensor(x).mish().data();
    x.forEach((v, k) => assert.ok(Math.abs(mish[k] - v * Math.tanh(Math.log1p(Math.exp(v)))) < 2e-6, `mish(${v})`));
  });
}

test.run();
