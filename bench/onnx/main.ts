/**
 * Runs ONNX's backend tests (Debian's libonnx-testdata) on voxgrad's operators: how many of their models can be
 * expressed, and whether their outputs are right.
 *
 * npx voxgrad run bench/onnx/main.ts [FOLDER] [--only WORD] [--list]
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { closeDevice, evaluate, type Tensor, VoxgradError } from "../../engine/mod.ts";
import { runGraph } from "../../models/onnx/file/run_graph.ts";
import { type OnnxTensor, readModel, readTensor } from "../../models/onnx/file/messages.ts";
import { operators } from "../../models/onnx/operators/mod.ts";
import {
  dtypeOrNull,
  fromFile,
  isFloatType,
  Known,
  lacks,
  nameOf,
  toTensor,
  UnsupportedOnnx,
  type Value,
} from "../../models/onnx/file/values.ts";

const SUITES = ["node", "simple", "pytorch-converted", "pytorch-operator"];

/** Models whose numbers disagree with their own attributes. */
const FAULTY: Readonly<Record<string, string>> = {
  test_adam_multiple: "numbers made with epsilon 0.01, which the model does not have",
};

/** The result of one model: right, what is wrong, or why it cannot be run. */
export interface Outcome {
  readonly name: string;
  readonly failed?: string;
  readonly notApplicable?: string;
}

/** Floats are for the device; integers, and short vectors such as scales, are known while the graph is built. */
function given(t: OnnxTensor): Value {
  const value = fromFile(t);
  const short = value.shape.length <= 1 && value.data.length <= 8;
  return isFloatType(value.type) && !short ? toTensor(value) : value;
}

async function numbersOf(value: Value): Promise<{ shape: readonly number[]; data: ArrayLike<number> }> {
  if (value instanceof Known) return { shape: value.shape, data: value.data };
  const t = value as Tensor;
  return { shape: t.shape, data: await t.data() };
}

function difference(got: { shape: readonly number[]; data: ArrayLike<number> }, wanted: OnnxTensor): string | null {
  if (String(got.shape) !== String(wanted.shape)) return `shape [${got.shape}], wanted [${wanted.shape}]`;
  let scale = 0;
  for (const v of wanted.data) if (Number.isFinite(v)) scale = Math.max(scale, Math.abs(v));
  const exact = !isFloatType(wanted.type);
  for (let k = 0; k < wanted.data.length; k++) {
    const [a, b] = [got.data[k], wanted.data[k]];
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
    if (exact || !(Math.abs(a - b) <= 1e-3 * Math.abs(b) + 1e-5 * scale)) return `element ${k} is ${a}, wanted ${b}`;
  }
  return null;
}

export async function runCase(folder: string, name: string): Promise<Outcome> {
  if (Object.hasOwn(FAULTY, name)) return { name, notApplicable: FAULTY[name] };
  try {
    const model = readModel(readFileSync(`${folder}/model.onnx`));
    const sets = readdirSync(folder).filter((each) => each.startsWith("test_data_set"));
    if (sets.length === 0) return { name, notApplicable: "no data" };
    for (const set of sets) {
      const read = (kind: string, k: number): OnnxTensor | null => {
        const file = `${folder}/${set}/${kind}_${k}.pb`;
        return existsSync(file) ? readTensor(readFileSync(file)) : null;
      };
      const inputs = new Map<string, Value>();
      const stored = new Set(model.graph.initializers.map((t) => t.name));
      const free = model.graph.inputs.filter((input) => !stored.has(input.name));
      for (const [k, input] of free.entries()) {
        if (input.type === null) lacks("inputs that are no tensors");
        if (dtypeOrNull(input.type!) === null) lacks(`values of type ${nameOf(input.type!)}`);
        const t = read("input", k);
        if (t && t.type !== input.type) lacks(`data of type ${nameOf(t.type)} for ${nameOf(input.type!)}`);
        if (t) inputs.set(input.name, given(t));
      }
      const results = runGraph(model, model.graph, inputs, operators);
      if (results.some(Array.isArray)) lacks("outputs that are sequences");
      await evaluate(results.filter((value) => !(value instanceof Known)) as Tensor[]);
      for (const [k, result] of results.entries()) {
        const wanted = read("output", k);
        if (!wanted) continue;
        const { type } = model.graph.outputs[k];
        if (type !== wanted.type) lacks(`data of type ${nameOf(wanted.type)} for ${nameOf(type!)}`);
        const wrong = difference(await numbersOf(result), wanted);
        if (wrong) return { name, failed: `output ${k}: ${wrong}` };
      }
    }
    return { name };
  } catch (error) {
    if (error instanceof UnsupportedOnnx) return { name, notApplicable: error.what };
    const { message } = error as Error;
    return { name, failed: error instanceof VoxgradError ? message : `${(error as Error).stack}` };
  }
}

export async function runAll(root: string, only: string, onCase: (outcome: Outcome) => void): Promise<Outcome[]> {
  const list: Outcome[] = [];
  for (const suite of SUITES) {
    if (!existsSync(`${root}/${suite}`)) continue;
    for (const name of readdirSync(`${root}/${suite}`).sort()) {
      if (!name.includes(only) || !existsSync(`${root}/${suite}/${name}/model.onnx`)) continue;
      const outcome = await runCase(`${root}/${suite}/${name}`, name);
      list.push(outcome);
      onCase(outcome);
    }
  }
  return list;
}

export function summary(list: readonly Outcome[]): string {
  const reasons = new Map<string, number>();
  for (const { notApplicable } of list) {
    if (notApplicable) reasons.set(notApplicable, (reasons.get(notApplicable) ?? 0) + 1);
  }
  const [failed, other] = [list.filter((o) => o.failed).length, list.filter((o) => o.notApplicable).length];
  const lines = [...reasons].sort((a, b) => b[1] - a[1]).map(([reason, count]) => `  ${count} ${reason}`);
  return [
    `not applicable:`,
    ...lines,
    `${list.length} models: ${list.length - failed - other} passed, ${failed} failed, ${other} not applicable`,
  ].join("\n");
}

/** The program, unless a test imports this file. */
export async function main(args: readonly string[]): Promise<void> {
  const at = args.indexOf("--only");
  const folder = args.find((a, k) => !a.startsWith("--") && k !== at + 1) ?? "/usr/share/libonnx-testdata/data";
  if (!existsSync(`${folder}/node`)) {
    console.log(`${folder} holds no backend tests; install Debian's libonnx-testdata, or name the folder with node/`);
    return;
  }
  const all = args.includes("--list");
  const list = await runAll(folder, at < 0 ? "" : args[at + 1], ({ name, failed, notApplicable }) => {
    if (failed) console.log(`FAIL ${name}: ${failed}`);
    else if (all) console.log(notApplicable ? `n/a  ${name}: ${notApplicable}` : `ok   ${name}`);
  });
  console.log(summary(list));
  await closeDevice();
}
