// How a training by ranks scales, by a model of a step whose terms are measured on this machine: how fast gradients are
// added and packed, what a message costs, and from --network, the bytes. The seconds that a step computes on the device
// are given: nobody has measured them on the H200 that the default guesses at.
// node --import ./engine/platform/cli/register.mjs bench/machines/scaling.ts
import { RankMesh } from "../../engine/train/ranks/ranks.ts";
import { treeSum } from "../../engine/train/ranks/tree_sum.ts";
import { config, entry, formatTable } from "../../engine/train/mod.ts";

const { parameters, compute, gigabits, ranks, measured } = config({
  parameters: entry(31, "millions of parameters; 31: nnU-Net's 3d_fullres", { min: 0.1 }),
  compute: entry(0.25, "seconds that a step computes on a device: a guess at an H200, which nobody has measured", {
    min: 0,
  }),
  gigabits: entry("10,100", "of the links, each way"),
  ranks: entry("1,2,4,8,16,32,64", "numbers of ranks"),
  measured: entry(8, "millions of values that the terms are measured with", { min: 0.1 }),
});

/** Of the process, with the threads of ZeroMQ: what other processes take of a core does not count. */
const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const median = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
async function seconds(times: number, f: () => unknown): Promise<number> {
  const all: number[] = [];
  for (let k = 0; k < times; k++) {
    const started = cpuSeconds();
    await f();
    all.push(cpuSeconds() - started);
  }
  return median(all);
}

// The terms. Two ranks of this process exchange vectors: long ones for the bytes, short ones for the messages.
const count = Math.round(measured * 1e6);
const vectors = [new Float32Array(count).fill(1), new Float32Array(count).fill(2)];
const adding = await seconds(5, () => treeSum(vectors)) / count;
async function measure(half: boolean): Promise<{ handling: number; message: number }> {
  const root = await RankMesh.open({ rank: 0, ranks: 2, at: "", half, about: {} });
  const other = await RankMesh.open({ rank: 1, ranks: 2, at: root.at, half });
  await other.hello();
  await Promise.all([root.ready(1, async () => new Uint8Array(1)), other.welcome()]);
  let call = 0;
  const exchange = (length: number) => () => {
    call++;
    return Promise.all([root, other].map((mesh, rank) => mesh.sum(call, vectors[rank].subarray(0, length))));
  };
  await exchange(count)();
  const long = await seconds(5, exchange(count));
  // A short vector goes to rank 0 and comes back.
  const message = await seconds(100, exchange(16)) / 2;
  for (const mesh of [root, other]) mesh.close();
  // Both ranks share this process: half of the vector and half of the sum leave each of them.
  return { handling: Math.max(0, long - count * adding) / (2 * count), message };
}
const [whole, half] = [await measure(false), await measure(true)];
const told = (seconds: number): string => `${(seconds * 1e9).toFixed(1)} ns`;
console.log(
  `Measured: ${told(adding)} to add a value, ${told(whole.handling)} to send and read one as f32, ` +
    `${told(half.handling)} as f16; ${(whole.message * 1e6).toFixed(0)} us a message`,
);

const values = parameters * 1e6;
/** Seconds that a step exchanges. */
function exchanged(size: number, bitsPerSecond: number, bytesPerValue: number, handling: number): number {
  if (size === 1) return 0;
  // A rank sends the slices of all others and their sums of its own, and gets as much.
  const moved = 2 * values * (1 - 1 / size);
  const link = 8 * moved * bytesPerValue / bitsPerSecond;
  const own = values * (1 - 1 / size) * adding + moved * handling;
  // What couples samples and the metrics pass rank 0, there and back; so does a slice of each rank.
  return link + own + 3 * 2 * (size - 1) * whole.message;
}
for (const link of gigabits.split(",").map(Number)) {
  const rows = ranks.split(",").map(Number).map((size) => {
    const times = [exchanged(size, link * 1e9, 4, whole.handling), exchanged(size, link * 1e9, 2, half.handling)];
    return [size, ...times.flatMap((time) => [time.toFixed(3), `${(100 * compute / (compute + time)).toFixed(0)} %`])];
  });
  console.log(`\n${parameters} M parameters, ${compute} s of computing a step (given), ${link} Gbit/s`);
  console.log(formatTable(["ranks", "s exchanged", "efficiency", "s with f16", "efficiency"], rows));
}
process.exit(0);
