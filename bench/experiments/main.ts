// Kinds of experiment beside those of scripts/examples, in today's vocabulary: each learns something small, and prints
// its losses. `npx voxgrad run bench/experiments/main.ts --steps 10 --only maml,sam`
import { closeDevice } from "voxgrad";
import { parseArgs } from "node:util";
import { experiments } from "./experiments.ts";

const { values } = parseArgs({ options: { steps: { type: "string", default: "10" }, only: { type: "string" } } });
for (const [name, load] of Object.entries(experiments)) {
  if (values.only && !values.only.split(",").includes(name)) continue;
  const { run } = await load();
  const losses = await run(Number(values.steps));
  console.log(name.padEnd(20), losses.map((x) => x.toPrecision(4)).join(" "));
}
await closeDevice();
