/** A graph of ONNX that grows layer by layer. */
import { type Shape, VoxgradError } from "../../engine/mod.ts";
import {
  int64,
  tensorBytes,
  type WrittenAttribute,
  type WrittenNode,
  type WrittenTensor,
} from "../onnx/file/write_model.ts";
import { UnsupportedOnnx } from "../onnx/file/values.ts";
import type { LayerWeight } from "./weights.ts";

/** What a layer gives: channels first. */
export interface LayerValue {
  readonly name: string;
  readonly rank: number;
  /** Undefined if the file leaves it open. */
  readonly channels: number | undefined;
}

/** The axis here of an axis there, where channels are last. */
export const axisHere = (axis: number, rank: number): number => {
  const positive = axis < 0 ? axis + rank : axis;
  return positive === 0 ? 0 : positive === rank - 1 ? 1 : positive + 1;
};

export class GraphBuilder {
  readonly nodes: WrittenNode[] = [];
  readonly initializers: WrittenTensor[] = [];
  readonly #taken = new Set<string>();

  #fresh(wanted: string): string {
    let name = wanted;
    for (let k = 2; this.#taken.has(name); k++) name = `${wanted}#${k}`;
    this.#taken.add(name);
    return name;
  }

  /** Keeps a name for an input or an output of the model. */
  claim(name: string): string {
    return this.#fresh(name);
  }

  node(
    layer: string,
    type: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, WrittenAttribute>> = {},
  ): string {
    const output = this.#fresh(`${layer}.${type}`);
    this.nodes.push({ type, inputs, output, attributes });
    return output;
  }

  /** The node that gives the model's output. */
  result(name: string, input: string): void {
    this.nodes.push({ type: "Identity", inputs: [input], output: name, attributes: {} });
  }

  /** Numbers that are no parameters. */
  constant(layer: string, data: Float32Array, shape: Shape): string {
    const value = { name: "", shape, type: 1, bytes: tensorBytes(data, "f32") };
    return this.node(layer, "Constant", [], { value });
  }

  floats(wanted: string, data: Float32Array, shape: Shape): string {
    const name = this.#fresh(wanted);
    this.initializers.push({ name, shape, type: 1, bytes: tensorBytes(data, "f32") });
    return name;
  }

  integers(wanted: string, values: readonly number[]): string {
    const name = this.#fresh(wanted);
    this.initializers.push(int64(name, values));
    return name;
  }
}

type Wide<T> = T extends string ? string : T extends number ? number : boolean;

/** A layer of model.json: its configuration, read with checks, and its weights. */
export class Layer {
  readonly name: string;
  readonly kind: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly #weights: ReadonlyMap<string, LayerWeight>;
  /** Initializers by weight, for layers that are called several times. */
  readonly made = new Map<string, string>();
  readonly taken = new Set<LayerWeight>();
  readonly file: string;

  constructor(
    name: string,
    kind: string,
    config: Readonly<Record<string, unknown>>,
    weights: ReadonlyMap<string, LayerWeight>,
    file: string,
  ) {
    this.name = name;
    this.kind = kind;
    this.config = config;
    this.#weights = weights;
    this.file = file;
  }

  fail(problem: string): never {
    throw new VoxgradError(`${this.file}: the layer ${JSON.stringify(this.name)} (${this.kind}): ${problem}`);
  }

  lacks(what: string): never {
    throw new UnsupportedOnnx(`${what} (layer ${JSON.stringify(this.name)}, ${this.kind})`, this.file);
  }

  /** An entry, which must be of the type of `otherwise`. */
  entry<T extends string | number | boolean>(key: string, otherwise: T): Wide<T> {
    const value = this.config[key] ?? otherwise;
    if (typeof value !== typeof otherwise || Number.isNaN(value)) {
      this.fail(`${key} is ${JSON.stringify(value)}; wanted a ${typeof otherwise}`);
    }
    return value as Wide<T>;
  }

  /** One size or one for each axis of space. */
  sizes(key: string, dims: number, otherwise: unknown = 1): number[] {
    const value = this.config[key] ?? otherwise;
    const list = Array.isArray(value) ? value as unknown[] : new Array<unknown>(dims).fill(value);
    if (list.length !== dims || !list.every((n) => Number.isSafeInteger(n) && (n as number) >= 1)) {
      this.fail(`${key} is ${JSON.stringify(value)}; wanted ${dims} integers >= 1`);
    }
    return list as number[];
  }

  /** A weight of so many axes, or with exactly these sizes. */
  weight(name: string, wanted: number | readonly number[]): LayerWeight {
    const found = this.#weights.get(name) ?? this.fail(`it has no weight ${name}`);
    const fits = typeof wanted === "number" ? found.shape.length === wanted : String(found.shape) === String(wanted);
    if (!fits) {
      this.fail(
        `its weight ${name} is [${found.shape}]; wanted ${
          typeof wanted === "number" ? `${wanted} axes` : `[${wanted}]`
        }`,
      );
    }
    this.taken.add(found);
    return found;
  }
}

/** Values with their axes in another order: axis k of the result is axis order[k]. */
export function permuted({ shape, data }: LayerWeight, order: readonly number[]): LayerWeight {
  const sizes = order.map((axis) => shape[axis]);
  const strides = order.map((axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const out = new Float32Array(data.length);
  const at = new Array<number>(sizes.length).fill(0);
  for (let k = 0, from = 0; k < out.length; k++) {
    out[k] = data[from];
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      from += strides[axis];
      if (++at[axis] < sizes[axis]) break;
      from -= strides[axis] * sizes[axis];
      at[axis] = 0;
    }
  }
  return { shape: sizes, data: out };
}
