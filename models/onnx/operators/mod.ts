/** The operators of ONNX, by name; those of other domains with their domain. */
import type { OnnxOperator } from "../file/run_graph.ts";
import { control } from "./control.ts";
import { elementwise } from "./elementwise.ts";
import { networks } from "./networks.ts";
import { reductions } from "./reductions.ts";
import { shapes } from "./shapes.ts";

export const operators: Readonly<Record<string, OnnxOperator>> = {
  ...elementwise,
  ...shapes,
  ...reductions,
  ...networks,
  ...control,
};
