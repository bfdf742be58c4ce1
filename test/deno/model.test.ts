// openModel in Deno, in its own thread and in a worker, with the labels of Node.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice } from "../../engine/mod.ts";
import { runModule } from "./harness.ts";
import segment from "./model.ts";

test.after(closeDevice);

test("openModel() in Deno segments as in Node, in its own thread and in a worker's", async () => {
  const { host, result } = await runModule<Awaited<ReturnType<typeof segment>>>(new URL("./model.ts", import.meta.url));
  assert.is(host, "deno");
  assert.equal(result.there, result.here);
  assert.is(result.aborted, "AbortError");
  const { here } = await segment();
  const other = here.filter((value, k) => value !== result.here[k]).length;
  assert.ok(here.length === result.here.length && other <= here.length / 500, `${other} voxels differ`);
});

test.run();
