/** Runs a graph by the table of operators. */
import { show, type Tensor, VoxgradError } from "../../../engine/mod.ts";
import type { OnnxAttribute, OnnxFile, OnnxGraph, OnnxNode } from "./messages.ts";
import { fromFile, lacks, type Single, toNumber, toNumbers, toTensor, UnsupportedOnnx, type Value } from "./values.ts";

/** A call of an operator. */
export class Call {
  readonly node: OnnxNode;
  readonly inputs: readonly (Value | null)[];
  readonly opset: number;
  /** Runs a graph that is an attribute, which sees the values around it. */
  readonly run: (graph: OnnxGraph, inputs: readonly Value[]) => Value[];

  constructor(node: OnnxNode, inputs: readonly (Value | null)[], opset: number, run: Call["run"]) {
    this.node = node;
    this.inputs = inputs;
    this.opset = opset;
    this.run = run;
  }

  /** Input k as a tensor. */
  t(k: number): Tensor {
    return toTensor(this.inputs[k]);
  }
  single(k: number): Single {
    const value = this.inputs[k];
    return Array.isArray(value) || !value ? lacks("a sequence where a tensor is needed") : value as Single;
  }
  has(k: number): boolean {
    return this.inputs[k] !== null && this.inputs[k] !== undefined;
  }
  numbers(k: number): readonly number[] {
    return toNumbers(this.inputs[k], `input ${k} of ${this.node.type}`);
  }
  number(k: number): number {
    return toNumber(this.inputs[k], `input ${k} of ${this.node.type}`);
  }
  attribute<T extends OnnxAttribute>(name: string, otherwise: T): T extends string ? string : T {
    return (this.node.attributes.get(name) ?? otherwise) as T extends string ? string : T;
  }
  graph(name: string): OnnxGraph {
    return this.node.attributes.get(name) as OnnxGraph;
  }
  integer(name: string, otherwise: number): number {
    return this.attribute<number>(name, otherwise);
  }
  list(name: string): readonly number[] | undefined {
    return this.node.attributes.get(name) as readonly number[] | undefined;
  }
}

export type OnnxOperator = (call: Call) => Value | readonly Value[] | OutputList;
/** Several outputs; a list alone is a sequence. */
export class OutputList {
  readonly list: readonly (Value | null)[];

  constructor(list: readonly (Value | null)[]) {
    this.list = list;
  }
}
export const outputs = (...list: (Value | null)[]): OutputList => new OutputList(list);

/** The name under which the table holds an operator. */
export const operatorOf = ({ domain, type }: OnnxNode): string =>
  domain === "" || domain === "ai.onnx" ? type : `${domain}.${type}`;

/** Computes the outputs of a graph; `outer` are the values around a graph that is an attribute. */
export function runGraph(
  model: Pick<OnnxFile, "opset">,
  graph: OnnxGraph,
  inputs: ReadonlyMap<string, Value>,
  operators: Readonly<Record<string, OnnxOperator>>,
): Value[] {
  const values = new Map<string, Value>(inputs);
  for (const t of graph.initializers) if (!values.has(t.name)) values.set(t.name, fromFile(t));
  for (const node of graph.nodes) {
    const name = operatorOf(node);
    const operator = Object.hasOwn(operators, name) ? operators[name] : lacks(`operator ${name}`);
    const given = node.inputs.map((input) => {
      if (input === "") return null;
      return values.get(input) ?? damaged(`no node before it gives ${show(input)}, which ${named(node)} takes`);
    });
    const call = new Call(node, given, model.opset, (inner, args) => {
      const scope = new Map(values);
      inner.inputs.forEach((input, k) => scope.set(input.name, args[k]));
      return runGraph(model, inner, scope, operators);
    });
    const result = at(node, () => operator(call));
    const list = result instanceof OutputList ? result.list : [result as Value];
    node.outputs.forEach((output, k) => {
      if (output !== "" && list[k] !== null && list[k] !== undefined) values.set(output, list[k]!);
    });
  }
  return graph.outputs.map(({ name }) => values.get(name) ?? damaged(`no node gives the output ${show(name)}`));
}

const damaged = (what: string): never => {
  throw new VoxgradError(`openOnnx: the graph is damaged: ${what}`);
};
const named = (
  { name, type }: OnnxNode,
): string => (name === "" ? `a node ${type}` : `the node ${show(name)} (${type})`);

/** Says of an error at which node it occurs. */
function at<T>(node: OnnxNode, f: () => T): T {
  try {
    return f();
  } catch (error) {
    const place = `openOnnx: ${named(node)}`;
    if (error instanceof UnsupportedOnnx) throw new UnsupportedOnnx(error.what, place);
    const { message } = error as Error;
    if (error instanceof VoxgradError) throw new VoxgradError(`${place}: ${message}`, { cause: error });
    // An attribute or an input that its operator requires is missing or of another kind.
    throw new VoxgradError(`${place} does not have what its operator takes: ${message}`, { cause: error });
  }
}
