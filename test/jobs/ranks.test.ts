// Ranks on lavapipe: 1, 2 and 4 end with the same weights, and SwiftShader beside it says how far it is off.
import { readdirSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { loadSafetensors } from "../../engine/mod.ts";
import { said, scratch, tiny } from "./servers.ts";

const drivers = (() => {
  try {
    return readdirSync("/usr/share/vulkan/icd.d");
  } catch {
    return [];
  }
})();

if (!drivers.some((name) => name.startsWith("lvp"))) {
  console.log("Skipped: there is no lavapipe (apt-get install mesa-vulkan-drivers)");
} else {
  const folder = await scratch("ranks");
  test.after(() => rm(folder, { recursive: true, force: true }));
  // 7,600 parameters, so that each of four ranks adds up a slice.
  const words = ["train_unet", ...tiny(3), "--features", "4,12", "--patch", "8,8,8", "--batch", "4", "--micro", "4"];
  const run = async (name: string, ...more: string[]): Promise<{ output: string; model: Buffer }> => {
    const output = await said(folder, [...words, "--run", name, ...more], { VOXGRAD_ADAPTER: "lavapipe" });
    return { output, model: await readFile(join(folder, name, "model.safetensors")) };
  };
  const alone = run("alone");

  test("train_unet --ranks on lavapipe ends with the weights of one process", async () => {
    const { model } = await alone;
    for (const ranks of ["2", "4"]) {
      const { output, model: other } = await run(`ranks_${ranks}`, "--ranks", ranks);
      assert.match(output, /The weights of rank 1 and rank 0 are equal after step 3/);
      assert.match(output, /A step of rank 0 computed for .* and sent .* MB/);
      assert.ok(other.equals(model), `${ranks} ranks`);
    }
  });

  test("train_unet --rank-devices trains on lavapipe and SwiftShader together, and prints their drift", async () => {
    const { output, model } = await run("mixed", "--ranks", "2", "--rank-devices", "swiftshader");
    const [line, drift] = /The weights of rank 1 and rank 0 (?:are equal|differ by at most (\S+)) after step 3/.exec(
      output,
    )!;
    assert.ok(Number(drift ?? 0) < 1e-4);
    // Both apply the same sum, whose parts were rounded on two kinds of device.
    let most = 0;
    const other = loadSafetensors(new Uint8Array((await alone).model)).tensors;
    for (const [name, own] of loadSafetensors(new Uint8Array(model)).tensors) {
      const [a, b] = [await own.data(), await other.get(name)!.data()];
      for (let k = 0; k < a.length; k++) most = Math.max(most, Math.abs(a[k] - b[k]));
    }
    console.log(`${line}; those of lavapipe alone differ by at most ${most.toExponential(1)}`);
    assert.ok(most < 1e-2);
    assert.not(model.equals((await alone).model));
  });
}

test.run();
