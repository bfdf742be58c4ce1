/** The machine itself: what it computes, against PyTorch and by hand, and which faults of small kernels it finds. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as vg from "../../../engine/mod.ts";
import type { Tensor } from "../../../engine/mod.ts";
import { near } from "../../helpers/compare.ts";
import { type Stored } from "../../helpers/golden.ts";
import { gpu } from "../../helpers/races/cases/targets.ts";
import { runKernel, type RunOptions } from "../../helpers/races/machine.ts";
import { Finding } from "../../helpers/races/memory.ts";
import { caseOf, runCase } from "../../helpers/races/programs.ts";
import { call, type Case, cases, stored, tensorOf } from "../../ops/golden_cases.ts";

/** The output of an operator and its gradients, with what PyTorch gives. */
function known(c: Case): { results: Tensor[]; wanted: Stored[] } {
  const inputs = c.inputs.map(tensorOf);
  const keys = c.cotangent ? (c.grads ?? []) : [];
  const join = (some: readonly Tensor[]): Tensor[] => {
    const rest = [...some];
    return inputs.map((x, k) => (keys[k] ? rest.shift()! : x));
  };
  const results = [call(c, inputs)];
  if (c.cotangent) {
    const [, pullback] = vg.vjp((...xs: Tensor[]) => call(c, join(xs)), inputs.filter((_, k) => keys[k]));
    results.push(...pullback(tensorOf(c.cotangent)));
  }
  return { results, wanted: [c.output, ...keys.filter((key): key is string => Boolean(key))].map(stored) };
}

test("runKernel() computes every operator and its gradients as PyTorch does", () => {
  assert.ok(cases.length > 80);
  for (const c of cases) {
    const { results, wanted } = known(c);
    runCase(caseOf(c.name, results, gpu)).forEach((bytes, k) => {
      const { data } = wanted[k];
      const Kind = data instanceof Float32Array ? Float32Array : Int32Array;
      near(new Kind(bytes.buffer), data, 1e-5, `${c.name}, result ${k}`);
    });
  }
});

const HEAD = `
@group(0) @binding(0) var<storage, read_write> y: array<u32>;
var<workgroup> shared_: array<u32, 8>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_invocation_id) position: u32, @builtin(subgroup_id) subgroup: u32) {
`;

/** Runs a workgroup of 8, or several, that may write to y. */
function run(
  body: string,
  options: RunOptions & { groups?: number; length?: number; before?: string } = {},
): Uint32Array {
  const { groups = 1, length = 8, before = "", ...rest } = options;
  const y = new Uint32Array(length).fill(99);
  runKernel(`${before}${HEAD}${body}\n}`, [groups, 1, 1], [new Uint8Array(y.buffer)], rest);
  return y;
}

/** The kind and the message of what is found in a body, in any of several orders. */
function finding(body: string, options: Parameters<typeof run>[1] = {}): string {
  const found = [1, 2, 3].map((seed) => {
    try {
      run(body, { seed, ...options });
      return "";
    } catch (error) {
      if (error instanceof Finding) return error.message;
      throw error;
    }
  });
  assert.is(new Set(found.map((text) => text.split(":")[0])).size, 1, `${found}`);
  return found[0];
}

test("runKernel() computes expressions by the rules of WGSL", () => {
  const values: [string, number][] = [
    ["4294967295u + 3u", 2],
    ["2u - 3u", 4294967295],
    ["4000000000u * 4000000000u", Number((4000000000n * 4000000000n) % 2n ** 32n)],
    ["7u / 2u + 7u % 4u * 10u", 33],
    ["5u / (lane * 0u)", 5],
    ["5u % (lane * 0u)", 0],
    ["u32(-7i / 2i + 10i)", 7],
    ["u32(-7i % 4i + 10i)", 7],
    ["u32(2147483647i + i32(lane) - i32(lane) + 1i)", 2147483648],
    ["1u << 33u", 2],
    ["0x80000000u >> 31u", 1],
    ["u32((-8i >> 1u) + 5i)", 1],
    ["bitcast<u32>(-1.5f)", 0xbfc00000],
    ["u32(bitcast<f32>(0x40490fdbu) * 1000f)", 3141],
    ["u32(16777216f + 1f)", 16777216],
    ["u32(-3.7f)", 0],
    ["u32(1e20f)", 4294967295],
    ["u32(i32(-3.7f) + 10)", 7],
    ["u32(round(2.5f) + 10f * round(-1.5f) + 30f)", 12],
    ["select(1u, 2u, 3u < 4u)", 2],
    ["u32(dot(vec3f(1, 2, 3), vec3f(4, 5, 6)))", 32],
    ["vec4u(1u, 2u, 3u, 4u).zyx[0]", 3],
    ["u32(all(vec2u(1u, 0u) < vec2u(2u)) & any(vec2<bool>(false, true)))", 1],
    ["(vec3u(7u) / vec3u(1u, 2u, 4u)).y", 3],
    ["u32(f32(f16(2049f)))", 2048],
    ["u32(fma(3f, 4f, 0.5f) * 2f)", 25],
    ["countTrailingZeros(40u)", 3],
    ["clamp(7u, 1u, 5u) + min(2u, 3u) * 10u + max(2u, 3u) * 100u", 325],
    ["u32(0.1 * 10.0)", 1],
    ["u32((2 + 3) * 4 - 1)", 19],
  ];
  for (const [text, wanted] of values) assert.is(run(`y[lane] = ${text};`)[3], wanted, text);
});

test("runKernel() keeps values, scopes and loops apart", () => {
  const body = `
  var a = vec2u(1u, 2u);
  let b = a;
  a.x = 5u;
  var list: array<u32, 3>;
  list[1] += 7u;
  list[lane % 3u]++;
  let c = list;
  list[1] = 100u;
  let total = a.x + b.x * 10u;
  var sum = 0u;
  for (var k = 0u; k < 10u; k++) {
    if (k == 2u) { continue; }
    let total = k;
    if (total > 5u) { break; }
    sum += total;
  }
  while (sum > 20u) { sum--; }
  _ = list[0];
  y[lane] = total * 1000u + c[1] * 100u + twice(sum);`;
  const wanted = Array.from({ length: 8 }, (_, lane) => 15000 + (7 + Number(lane % 3 === 1)) * 100 + 26);
  assert.equal([...run(body, { before: "fn twice(x: u32) -> u32 { return 2u * x; }" })], wanted);
});

test("runKernel() gives lanes of subgroups of every width what they share", () => {
  for (const width of [4, 8, 16]) {
    for (const seed of [1, 2]) {
      // What each lane holds: where it is.
      const at = [...run("y[lane] = subgroup * 100u + position;", { width, seed })];
      const lanes = Math.min(width, 8);
      const own = (value: (position: number) => number): number[] => at.map((place) => value(place % 100));
      const sum = (count: number): number => (count * (count - 1)) / 2;
      const values: [string, number[]][] = [
        ["subgroupAdd(position)", own(() => sum(lanes))],
        ["subgroupExclusiveAdd(position)", own((k) => sum(k))],
        ["subgroupInclusiveAdd(position)", own((k) => sum(k + 1))],
        ["subgroupMax(position)", own(() => lanes - 1)],
        ["subgroupMin(position + 2u)", own(() => 2)],
        ["subgroupBroadcast(position * 3u, 2u)", own(() => 6)],
        ["subgroupBroadcastFirst(position + 4u)", own(() => 4)],
        ["subgroupShuffle(position, position ^ 1u)", own((k) => k ^ 1)],
        ["subgroupShuffleXor(position, 2u)", own((k) => k ^ 2)],
        ["subgroupShuffleUp(position, min(position, 1u))", own((k) => Math.max(0, k - 1))],
        ["select(0u, 1u, subgroupAll(position < 3u))", own(() => 0)],
        ["select(0u, 1u, subgroupAny(position == 3u))", own(() => 1)],
        ["select(0u, 1u, subgroupElect())", own((k) => Number(k === 0))],
        ["subgroupAdd(vec2u(position, 1u)).y", own(() => lanes)],
      ];
      for (const [text, wanted] of values) {
        assert.equal([...run(`y[lane] = ${text};`, { width, seed })], wanted, `${text}, ${width} lanes`);
      }
    }
  }
});

const EXCHANGE = "shared_[lane] = lane; workgroupBarrier(); y[lane] = shared_[7u - lane];";

test("runKernel() runs invocations in another order for every seed, and gives the same", () => {
  for (const seed of [1, 2, 3]) assert.equal([...run(EXCHANGE, { seed })], [7, 6, 5, 4, 3, 2, 1, 0]);
  const orders = [1, 2, 3].map((seed) => `${run("y[lane] = subgroup * 8u + position;", { width: 4, seed })}`);
  assert.is(new Set(orders).size, 3);
});

test("runKernel() finds races of invocations of a workgroup", () => {
  const ignores = ["unwritten"] as const;
  const races = [
    EXCHANGE.replace("workgroupBarrier();", ""),
    EXCHANGE.replace("workgroupBarrier", "storageBarrier"),
    "shared_[0] = lane;",
    "shared_[0] = 1u;",
    "shared_[lane] = 1u; shared_[(lane + 1u) % 8u] = 2u;",
    "let old = shared_[(lane + 1u) % 8u]; shared_[lane] = old;",
    `${EXCHANGE} shared_[lane] = 3u;`,
    "y[lane] = lane; y[(lane + 1u) % 8u] = 4u;",
    "y[lane] = lane; workgroupBarrier(); y[lane] = y[7u - lane];",
    "shared_[lane] = subgroupAdd(lane); let other = subgroupAdd(shared_[7u - lane]);",
  ];
  for (const body of races) assert.match(finding(body, { ignores, width: 4 }), /^race: line \d+: invocation/, body);
  assert.match(
    finding("shared_[0] = lane;"),
    /writes shared_\[0\], which invocation \d wrote in line 8, with no barrier/,
  );
});

test("runKernel() finds races of workgroups, which no barrier orders", () => {
  const other = "y[(group.x * 8u + lane + 8u) % 16u]";
  const of = (body: string): string => finding(body, { groups: 2, length: 16 });
  assert.match(of("y[lane] = 1u;"), /^race/);
  assert.match(of(`let old = ${other}; storageBarrier(); y[group.x * 8u + lane] = old;`), /^race/);
  assert.match(of(`y[group.x * 8u + lane] = 1u; storageBarrier(); let new_ = ${other};`), /^race/);
  assert.is(of("y[group.x * 8u + lane] = 1u; storageBarrier(); let new_ = y[group.x * 8u + 7u - lane];"), "");
  assert.is(of(EXCHANGE.replace("y[lane]", "y[group.x * 8u + lane]")), "", "workgroup memory is each one's own");
});

test("runKernel() finds no race where barriers order accesses, or invocations keep to their own", () => {
  const right = [
    "shared_[lane] = 1u; shared_[lane] += 2u; y[lane] = shared_[lane];",
    `${EXCHANGE} workgroupBarrier(); shared_[lane] = 3u;`,
    "if (lane == 0u) { shared_[0] = 5u; } workgroupBarrier(); y[lane] = shared_[0];",
    "for (var k = 0u; k < 3u; k++) { workgroupBarrier(); shared_[(lane + k) % 8u] = k; }",
    "y[lane] = 1u; storageBarrier(); y[7u - lane] = 2u;",
  ];
  for (const body of right) assert.is(finding(body), "", body);
});

test("runKernel() finds barriers and functions of subgroups that not all invocations reach", () => {
  const wrong = [
    "if (lane != 3u) { workgroupBarrier(); }",
    "if (lane == 3u) { return; } workgroupBarrier();",
    "for (var k = 0u; k < lane; k++) { workgroupBarrier(); }",
    "if (lane < 4u) { workgroupBarrier(); } else { workgroupBarrier(); }",
    "if (lane != 3u) { y[lane] = subgroupAdd(lane); }",
    "if (lane < 4u) { y[lane] = subgroupAdd(lane); } else { y[lane] = subgroupMax(lane); }",
    "y[lane] = subgroupBroadcast(lane, lane % 2u);",
  ];
  for (const body of wrong) assert.match(finding(body), /^barrier: /, body);
  assert.match(finding("if (lane == 3u) { return; } workgroupBarrier();"), /has returned/);
});

test("runKernel() finds accesses out of bounds and reads of what nothing has written", () => {
  for (const body of ["shared_[lane + 1u] = 1u;", "y[lane * 2u] = 1u;", "let old = y[8u];"]) {
    assert.match(finding(body), /^bounds: line 8/, body);
  }
  assert.match(finding("var own: array<u32, 3>; own[lane] = 1u;"), /^bounds/);
  assert.match(finding("y[lane] = subgroupShuffle(lane, 9u);"), /^bounds/);
  assert.match(finding("y[lane] = shared_[lane];"), /^unwritten: line 8 reads shared_/);
  assert.equal([...run("y[lane] = shared_[lane];", { ignores: ["unwritten"] })], new Array(8).fill(0));
});

test("runKernel() refuses WGSL that it does not know", () => {
  const wrong: [string, RegExp][] = [
    ["y[lane] = unheardOf(3u);", /line 8: no function unheardOf/],
    ["y[lane] = 1i;", /i32 where u32 is wanted/],
    ["y[lane] = lane + 1f;", /f32 where u32 is wanted/],
    ["switch lane { default: {} }", /WGSL, line 8/],
    ["y[lane] = nothing;", /no variable nothing/],
  ];
  for (const [body, message] of wrong) assert.throws(() => run(body), message, body);
});

test.run();
