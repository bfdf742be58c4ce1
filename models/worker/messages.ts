/** What the two sides of a worker say to each other. */
import { VoxgradError } from "../../engine/segmenting.ts";
import type { Plan, Volume } from "../../engine/imaging/mod.ts";
import type { ModelSource, Postprocessing } from "../../engine/train/mod.ts";
import type { OpenModelOptions } from "../open/open_model.ts";
import type { SegmentationModel, Support } from "../open/segmentation_model.ts";

/** What a model is, as plain data. */
export interface ModelFacts extends Pick<SegmentationModel, "labels" | "channels" | "needsSupport" | "mirror"> {
  readonly plan: Plan;
  readonly postprocessing?: Postprocessing;
}

export interface Requests {
  readonly open: { readonly sources: readonly ModelSource[]; readonly options: OpenModelOptions };
  readonly segment: {
    /** The request that opened the model. */
    readonly model: number;
    readonly scan: Parameters<SegmentationModel["segment"]>[0];
    readonly probabilities: boolean;
    readonly support?: readonly Support[];
  };
  /** Ends another request. */
  readonly stop: { readonly request: number };
  /** Frees a model; with `last`, the device too, since the thread ends. */
  readonly dispose: { readonly model: number; readonly last: boolean };
}

export interface Answers {
  readonly open: ModelFacts;
  readonly segment: { readonly labels: Volume; readonly probabilities?: Volume };
  readonly stop: undefined;
  readonly dispose: undefined;
}

/** A worker may have messages of its own; those of models have a key of their own too. */
export type Request = {
  [K in keyof Requests]: { readonly voxgrad: number; readonly request: K; readonly body: Requests[K] };
}[keyof Requests];

export type Answer =
  | { readonly voxgrad: number; readonly progress: { readonly done: number; readonly total: number } }
  | { readonly voxgrad: number; readonly result: unknown }
  | { readonly voxgrad: number; readonly error: PlainError };

export const isOurs = (message: unknown): message is { readonly voxgrad: number } =>
  typeof (message as { voxgrad?: unknown } | null | undefined)?.voxgrad === "number";

/** An error as plain data. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly fields: Readonly<Record<string, unknown>>;
}

export function plainError(error: unknown): PlainError {
  const { name, message, stack, cause: _, ...fields } = error instanceof Error ? error : new Error(String(error));
  const plain = Object.entries(fields).filter(([, value]) => typeof value !== "object" && typeof value !== "function");
  return { name, message, stack, fields: Object.fromEntries(plain) };
}

/** The error again: of class VoxgradError, with the name of its own class. */
export function revivedError({ name, message, stack, fields }: PlainError): Error {
  const error = Object.assign(new VoxgradError(message), fields, { name });
  if (stack !== undefined) error.stack = stack;
  return error;
}
