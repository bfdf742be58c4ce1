/** The reader of ONNX files and the table of its operators, on models written here byte by byte. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { closeDevice, tensor } from "../../../engine/mod.ts";
import { near } from "../../helpers/compare.ts";
import { runGraph } from "../../../models/onnx/file/run_graph.ts";
import { summary } from "../../../bench/onnx/main.ts";
import { operators } from "../../../models/onnx/operators/mod.ts";
import { readModel, readTensor } from "../../../models/onnx/file/messages.ts";
import { fromFile, Known, toTensor, UnsupportedOnnx, type Value, vector } from "../../../models/onnx/file/values.ts";
import type { Tensor } from "../../../engine/mod.ts";
import { type Fields, message, varint } from "./protobuf_writer.ts";

const floats = (...values: number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);
const node = (type: string, inputs: string[], outputs: string[], attributes: Fields = []): Fields[number] => [1, [
  ...inputs.map((name) => [1, name] as const),
  ...outputs.map((name) => [2, name] as const),
  [4, type],
  ...attributes,
]];
const integers = (name: string, ...values: number[]): Fields[number] => [5, [
  [1, name],
  ...values.map((value) => [8, value] as const),
  [20, 7],
]];
const model = (opset: number, ...graph: Fields): Uint8Array => message([[8, [[1, ""], [2, opset]]], [7, graph]]);

test("readTensor() reads packed, raw and negative numbers", () => {
  const raw = readTensor(message([[1, 2], [1, 1], [2, 1], [8, "w"], [9, floats(1.5, -2)]]));
  assert.equal([raw.name, raw.shape, raw.type, [...raw.data]], ["w", [2, 1], 1, [1.5, -2]]);
  const packed = readTensor(
    message([[1, 3], [2, 7], [7, Uint8Array.from([...varint(5), ...varint(-1), ...varint(300)])]]),
  );
  assert.equal(packed.data, [5, -1, 300]);
  const halves = readTensor(message([[1, 2], [2, 10], [9, new Uint8Array(Uint16Array.of(0x3c00, 0xc100).buffer)]]));
  assert.equal([...halves.data], [1, -2.5]);
  assert.throws(() => readTensor(Uint8Array.of(0x08)), /varint/);
  assert.throws(() => readTensor(Uint8Array.of(0x4a, 9, 1)), /ends within a field/);
  assert.throws(() => readTensor(Uint8Array.of(0x7b, 0)), /a field is of the type 3/);
});

test("runGraph() convolves, and folds the arithmetic of shapes on the host", async () => {
  const bytes = model(
    13,
    node("Conv", ["x", "w"], ["y"], [integers("pads", 1, 1, 1, 1), integers("kernel_shape", 3, 3)]),
    node("Relu", ["y"], ["z"]),
    node("Shape", ["z"], ["shape"]),
    node("Gather", ["shape", "zero"], ["batch"]),
    node("Unsqueeze", ["batch", "axes"], ["first"]),
    node("Concat", ["first", "rest"], ["target"], [[5, [[1, "axis"], [3, 0], [20, 2]]]]),
    node("Reshape", ["z", "target"], ["out"]),
    [5, [[1, 1], [1, 1], [1, 3], [1, 3], [2, 1], [8, "w"], [9, floats(0, 0, 0, 0, -2, 0, 0, 0, 0)]]],
    [5, [[2, 7], [8, "zero"], [7, Uint8Array.of(0)]]],
    [5, [[1, 1], [2, 7], [8, "axes"], [7, Uint8Array.of(0)]]],
    [5, [[1, 1], [2, 7], [8, "rest"], [7, Uint8Array.from(varint(-1))]]],
    [11, [[1, "x"], [2, [[1, [[1, 1]]]]]]],
    [12, [[1, "out"]]],
  );
  const { graph, opset } = readModel(bytes);
  assert.equal([opset, graph.inputs], [13, [{ name: "x", type: 1, shape: null }]]);
  const x = tensor([[[[1, -2, 3], [-4, 5, -6]]], [[[-1, 2, -3], [4, -5, 6]]]]);
  const [out] = runGraph({ opset }, graph, new Map<string, Value>([["x", x]]), operators);
  assert.equal([...(out as Tensor).shape], [2, 6]);
  near(await (out as Tensor).data(), [0, 4, 0, 8, 0, 12, 2, 0, 6, 0, 10, 0], 1e-6, "values");
});

test("runGraph() runs a branch, a loop with a scan output, and names what is missing", async () => {
  const body: Fields = [
    node("Add", ["sum", "step"], ["next"]),
    node("Identity", ["go"], ["on"]),
    ...["k", "go", "sum"].map((name) => [11, [[1, name], [2, [[1, [[1, 7]]]]]]] as const),
    ...["on", "next", "next"].map((name) => [12, [[1, name]]] as const),
  ];
  const bytes = model(
    13,
    node("Loop", ["most", "yes", "start"], ["last", "all"], [[5, [[1, "body"], [6, body], [20, 5]]]]),
    ...["last", "all"].map((name) => [12, [[1, name]]] as const),
  );
  const { graph, opset } = readModel(bytes);
  const known = (data: number[], type = 7): Known => new Known([], data, type);
  const inputs = new Map<string, Value>([
    ["most", known([4])],
    ["yes", known([1], 9)],
    ["start", known([10])],
    ["step", known([3])],
  ]);
  const [last, all] = runGraph({ opset }, graph, inputs, operators) as Known[];
  assert.equal([last.data, all.data, all.shape], [[22], [13, 16, 19, 22], [4]]);
  const strange = readModel(model(13, node("Nonsense", [], ["y"]), [12, [[1, "y"]]]));
  assert.throws(() => runGraph(strange, strange.graph, new Map(), operators), (error: Error) => {
    assert.instance(error, UnsupportedOnnx);
    return error.message === "openOnnx: the model needs operator Nonsense, which voxgrad does not have";
  });
});

test("toTensor() refuses integers beyond 32 bits, and summary() counts", () => {
  assert.equal(toTensor(vector([2 ** 31 - 1])).dtype, "i32");
  assert.throws(() => toTensor(vector([2 ** 31])), /more than 32 bits/);
  assert.throws(() => fromFile({ name: "", shape: [], type: 8, data: [] }), /strings/);
  const text = summary([{ name: "a" }, { name: "b", failed: "x" }, { name: "c", notApplicable: "strings" }]);
  assert.match(text, /1 strings\n3 models: 1 passed, 1 failed, 1 not applicable$/);
});

test.after(closeDevice);
test.run();
