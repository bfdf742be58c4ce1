/** Whose memory a tensor is: what goes in is copied, what comes out is the caller's, and odd arrays are refused. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../engine/mod.ts";
import { cast, compile, ones, tensor, VoxgradError } from "../../engine/mod.ts";
import { thrown } from "../helpers/refuse.ts";

const message = (f: () => unknown): string => thrown(f).message;

test("tensor() copies a typed array, of any type, unless copy is false", async () => {
  for (const type of [Float32Array, Int32Array, Uint32Array, Uint8Array] as const) {
    const data = new type([1, 0, 1]);
    const [copied, kept] = [tensor(data), tensor(data, { copy: false })];
    const lazy = copied.add(1);
    const pending = compile((t: vg.Tensor) => t.add(1))(copied);
    data.fill(0);
    assert.equal([...(await copied.data())], [1, 0, 1], type.name);
    assert.equal([...(await lazy.data())], [2, 1, 2], type.name);
    assert.equal([...(await (await pending).data())], [2, 1, 2], type.name);
    assert.equal([...(await kept.data())], [0, 0, 0], type.name);
  }
  const part = new Float32Array([1, 2, 3, 4]).subarray(1, 3);
  assert.equal([...(await tensor(part).data())], [2, 3]);
  assert.match(message(() => tensor(part, { copy: 1 as never })), /^tensor: copy is true or false, got 1$/);
});

test("what data() gives is the caller's", async () => {
  for (
    const x of [
      tensor([1, 2]),
      await vg.evaluate(tensor([1, 2]).add(0)),
      tensor(new Float32Array([1, 2]), { copy: false }),
    ]
  ) {
    (await x.data()).fill(9);
    assert.equal([...(await x.data())], [1, 2]);
  }
});

test("tensor() of bytes as bool gives 0 or 1", async () => {
  assert.equal([...(await tensor(new Uint8Array([0, 1, 2, 255])).data())], [0, 1, 1, 1]);
  assert.is(await tensor(new Uint8Array([0, 1, 2, 255])).sum().item(), 3);
});

test("tensor() throws on an array whose memory was transferred away, at once or when it is read", async () => {
  const data = new Float32Array([1, 2, 3]);
  const kept = tensor(data, { copy: false });
  const copied = tensor(data);
  structuredClone(data.buffer, { transfer: [data.buffer] } as never);
  assert.match(message(() => tensor(data)), /^tensor: the typed array has lost its memory, which was transferred/);
  assert.match(message(() => tensor(data, { shape: [3] })), /^tensor: the typed array has lost its memory/);
  for (
    const use of [
      () => kept.data(),
      () => kept.add(1).data(),
      () => vg.evaluate(kept.mul(2)),
      () => compile((t: vg.Tensor) => t.neg())(kept),
    ]
  ) {
    const error = await use().then(() => null, (e: unknown) => e);
    assert.instance(error, VoxgradError, String(error));
    assert.match((error as Error).message, /has lost its memory/);
  }
  assert.equal([...(await copied.data())], [1, 2, 3]);
});

test("tensor() refuses holes, rows of different depth and tensors among numbers", () => {
  const hole = [1, 2, 3];
  delete hole[1];
  assert.match(message(() => tensor(hole)), /^tensor: got undefined where a number is wanted$/);
  assert.match(
    message(() => tensor([1, [2]] as never)),
    /^tensor: an array of 1 lies at depth 1, where other rows have numbers$/,
  );
  assert.match(message(() => tensor([[1], 2] as never)), /^tensor: got 2 where a number is wanted$/);
  assert.match(
    message(() => tensor([ones([2]), ones([2])] as never)),
    /got Tensor\(f32\[2\]\) where a number is wanted; stack/,
  );
});

test("cast(), tensor() and resize() throw on names that every object has", () => {
  for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf"]) {
    assert.match(message(() => cast(ones([1]), name as never)), /^cast: dtype is one of/);
    assert.match(message(() => ones([1]).cast(name as never)), /^cast: dtype is one of/);
    assert.match(message(() => tensor([1], { dtype: name as never })), /^tensor: dtype is one of/);
    assert.match(message(() => vg.resize(ones([1, 1, 2, 2]), { size: 3, mode: name as never })), /^resize: mode is/);
    assert.match(
      message(() => vg.connectedComponents(ones([2, 2]), { connectivity: name as never })),
      /^connectedComponents: connectivity/,
    );
    assert.match(
      message(() => vg.gridSample(ones([1, 1, 2, 2]), ones([1, 2, 2, 2]), { padding: name as never })),
      /^gridSample: padding/,
    );
    assert.match(
      message(() => vg.sum(ones([1]), { [name]: 1 } as never)),
      name === "__proto__" ? /./ : /^sum: unknown option/,
    );
  }
});

test.after(vg.closeDevice);
test.run();
