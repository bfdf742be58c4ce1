/** The kernels and memory plan of a program, before anything is compiled. */
import type { Target } from "../../shaders/types.ts";
import type { Graph } from "./graph/lower.ts";
import { type MemoryPlan, planMemory } from "./memory_plan.ts";
import { type Schedule, schedule } from "./schedule.ts";

export interface PlannedProgram {
  readonly schedule: Schedule;
  readonly memory: MemoryPlan;
}

/**
 * Kernels in order and the memory that they share. Programs are built from this; tuning and measurements use it too.
 *
 * @param donated indices of leaves whose memory outputs may reuse
 */
export function planProgram(graph: Graph, target: Target, donated?: ReadonlySet<number>): PlannedProgram {
  const scheduled = schedule(graph, target, donated);
  return { schedule: scheduled, memory: planMemory(scheduled) };
}
