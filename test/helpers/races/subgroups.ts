/** Functions that the lanes of a subgroup compute together. */
import type { Site } from "./expressions.ts";
import { Finding, type Memory } from "./memory.ts";

/** An invocation as a lane of its subgroup, and what it gives to a function of the subgroup. */
export interface Lane {
  readonly position: number;
  value: unknown;
  lane: unknown;
  result: unknown;
}

/** What each lane gets. */
export function joined(
  site: Site,
  lanes: readonly Lane[],
  combine: ((a: unknown, b: unknown) => unknown) | null,
): readonly unknown[] {
  const { name, line } = site;
  if (name === "subgroupBroadcast") return broadcast(site, lanes);
  const values = lanes.map(({ value }) => value);
  const from = (k: number): unknown => {
    if (k >= 0 && k < lanes.length) return values[k];
    throw new Finding("bounds", `line ${line}: ${name} of lane ${k} of ${lanes.length}`);
  };
  const each = (of: (lane: number, given: number) => number): unknown[] =>
    lanes.map(({ position, lane }) => from(of(position, lane as number)));
  if (name.startsWith("subgroupMatrix")) return matrices(site, lanes);
  switch (name) {
    case "subgroupBroadcastFirst":
      return each(() => 0);
    case "subgroupShuffle":
      return each((_, given) => given);
    case "subgroupShuffleXor":
      return each((lane, given) => lane ^ given);
    case "subgroupShuffleUp":
      return each((lane, given) => lane - given);
    case "subgroupShuffleDown":
      return each((lane, given) => lane + given);
    case "subgroupAll":
      return lanes.map(() => values.every((v) => v));
    case "subgroupAny":
      return lanes.map(() => values.some((v) => v));
    case "subgroupElect":
      return lanes.map(({ position }) => position === 0);
    case "subgroupInclusiveAdd":
      return values.map((_, k) => values.slice(0, k + 1).reduce(combine!));
    case "subgroupExclusiveAdd":
      return values.map((_, k) => values.slice(0, k).reduce(combine!, lanes[k].lane));
    default: {
      const total = values.reduce(combine!);
      return lanes.map(() => total);
    }
  }
}

/** The most frequent function. */
function broadcast(site: Site, lanes: readonly Lane[]): unknown[] {
  const k = lanes[0].lane as number;
  for (const { lane } of lanes) if (lane !== k) uniform(site, [k, lane]);
  if (k < lanes.length) return new Array(lanes.length).fill(lanes[k].value);
  throw new Finding("bounds", `line ${site.line}: ${site.name} of lane ${k} of ${lanes.length}`);
}

/** What all lanes give, which must be the same. */
function uniform({ name, line }: Site, values: readonly unknown[]): unknown {
  const [first] = values;
  if (values.every((v) => v === first)) return first;
  throw new Finding("barrier", `line ${line}: lanes call ${name} with different arguments`);
}

type Matrix = readonly number[];

/** Loads, stores and products of matrices, row by row; products are sums in f32 in ascending order. */
function matrices(site: Site, lanes: readonly Lane[]): unknown[] {
  const given = lanes.map(({ value }) => value as unknown[]);
  const args = given[0].map((_, k) => uniform(site, given.map((list) => list[k])));
  const [rows, columns, terms] = site.shape!;
  const { line, byColumns } = site;
  const cells = Array.from({ length: rows * columns }, (_, k) => [Math.floor(k / columns), k % columns]);
  if (site.name === "subgroupMatrixMultiplyAccumulate") {
    const [a, b, c] = args as [Matrix, Matrix, Matrix];
    const result = cells.map(([row, column], k) => {
      let sum = c[k];
      for (let t = 0; t < terms; t++) sum = Math.fround(sum + a[row * terms + t] * b[t * columns + column]);
      return sum;
    });
    return lanes.map(() => result);
  }
  const [memory, offset, stride, stored] = args as [Memory, number, number, Matrix];
  const at = ([row, column]: number[]): number => offset + (byColumns ? column * stride + row : row * stride + column);
  if (site.name === "subgroupMatrixStore") {
    cells.forEach((cell, k) => memory.store(at(cell), stored[k], line));
    return lanes.map(() => null);
  }
  const loaded = cells.map((cell) => memory.load(at(cell), line) as number);
  return lanes.map(() => loaded);
}
