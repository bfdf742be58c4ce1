/** What a program is made of and needs, before anything is compiled. */
import type { Target } from "../../shaders/types.ts";
import type { Graph } from "./graph/lower.ts";
import { type MemoryPlan, planMemory } from "./memory_plan.ts";
import { type Schedule, schedule } from "./schedule.ts";

export interface PlannedProgram {
  readonly schedule: Schedule;
  readonly memory: MemoryPlan;
}

/**
 * Kernels in order and the memory that they share. Programs are built from this; tuning and measurements read it.
 *
 * @param donated positions of leaves whose memory outputs may take over
 */
export function planProgram(graph: Graph, target: Target, donated?: ReadonlySet<number>): PlannedProgram {
  const scheduled = schedule(graph, target, donated);
  return { schedule: scheduled, memory: planMemory(scheduled) };
}
