/** voxgrad in a process of its own. Run by gpu.ts: gpu_child.ts PRECISION SIZE. */
import type { Precision } from "../../engine/mod.ts";
import { engineIn } from "../peers/engine_ours.ts";
import { gpuItems, type Size } from "../peers/items_gpu.ts";
import { serve } from "../peers/serve.ts";

const [, , precision, size] = process.argv as [string, string, Precision, Size];

await serve(engineIn(precision), gpuItems(size));
process.exit(0);
