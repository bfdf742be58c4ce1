/** einsum: products of tensors, summed over axes that a formula names. */
import { arithmetic, isFloat, promote } from "../../core/dtype.ts";
import { check, fail, show } from "../../core/errors.ts";
import { checkShape, size } from "../../core/shape.ts";
import { Tensor } from "../../core/tensor.ts";
import { cast, mul } from "../elementwise/elementwise.ts";
import { sum } from "../reduce/reduce.ts";
import { reshape } from "../shape/reshape.ts";
import { transpose } from "../shape/transpose.ts";
import { diagonal } from "../shape/triangle.ts";
import { matmul } from "./matmul.ts";

/** A tensor whose axes have names, all different. */
interface Term {
  readonly x: Tensor;
  readonly labels: readonly string[];
}

const ELLIPSIS = "...";

/** The letters and ellipsis of one operand. */
function lettersOf(text: string): string[] {
  const letters = text.match(/\.\.\.|[a-zA-Z]|[^]/g) ?? [];
  const wrong = letters.find((letter) => letter !== ELLIPSIS && !/^[a-zA-Z]$/.test(letter));
  if (wrong !== undefined) fail("einsum", `axes are named by letters or "...", got ${show(wrong)} in ${show(text)}`);
  check(letters.filter((l) => l === ELLIPSIS).length <= 1, "einsum", () => `${show(text)} has "..." twice`);
  return letters;
}

/** The ellipsis stands for `count` axes, named from the last one on. */
const named = (letters: readonly string[], count: number): string[] =>
  letters.flatMap((letter) =>
    letter === ELLIPSIS ? Array.from({ length: count }, (_, k) => `${ELLIPSIS}${count - k}`) : [letter]
  );

/** The names of the axes of each operand, and of the result. */
function parse(equation: string, operands: readonly Tensor[]): { inputs: string[][]; output: string[] } {
  const [left, right, ...rest] = equation.replaceAll(" ", "").split("->");
  check(rest.length === 0, "einsum", () => `the equation has one "->", got ${show(equation)}`);
  const terms = left.split(",").map(lettersOf);
  check(
    terms.length === operands.length,
    "einsum",
    () => `${show(equation)} names ${terms.length} operands, got ${operands.length}`,
  );
  const inputs = terms.map((letters, k) => {
    const more = operands[k].rank - letters.filter((l) => l !== ELLIPSIS).length;
    check(
      letters.includes(ELLIPSIS) ? more >= 0 : more === 0,
      "einsum",
      () => `${show(letters.join(""))} does not name the axes of operand ${k}, ${operands[k]}`,
    );
    return named(letters, more);
  });
  const all = inputs.flat();
  const broadcast = new Set(all.filter((label) => label.startsWith(ELLIPSIS))).size;
  // Without an output: what occurs once, in alphabetical order, as in NumPy.
  const once = all.filter((l) => !l.startsWith(ELLIPSIS) && all.indexOf(l) === all.lastIndexOf(l)).sort();
  const output = named(right === undefined ? [ELLIPSIS, ...once] : lettersOf(right), broadcast);
  for (const [k, label] of output.entries()) {
    const name = label.startsWith(ELLIPSIS) ? ELLIPSIS : label;
    check(all.includes(label), "einsum", () => `no operand has the axis ${show(name)} of the result`);
    check(output.indexOf(label) === k, "einsum", () => `the result names ${show(name)} twice`);
  }
  return { inputs, output };
}

/** Takes the diagonal of axes with one name. */
function withoutTwins({ x, labels }: Term): Term {
  const b = labels.findIndex((label, k) => labels.indexOf(label) !== k);
  if (b < 0) return { x, labels };
  const a = labels.indexOf(labels[b]);
  check(
    x.shape[a] === x.shape[b],
    "einsum",
    () => `axes with one name, ${show(labels[b])}, have sizes ${x.shape[a]} and ${x.shape[b]}`,
  );
  const others = labels.filter((_, k) => k !== a && k !== b);
  return withoutTwins({ x: diagonal(x, { axes: [a, b] }), labels: [...others, labels[b]] });
}

/** Sums over the axes that `keep` does not hold. */
function summed({ x, labels }: Term, keep: (label: string) => boolean): Term {
  const axes = labels.map((_, k) => k).filter((k) => !keep(labels[k]));
  return axes.length === 0 ? { x, labels } : { x: sum(x, { axes }), labels: labels.filter(keep) };
}

/** The tensor with its axes in the order of `labels`; missing ones get size 1. */
function ordered(term: Term, labels: readonly string[]): Tensor {
  const present = labels.filter((label) => term.labels.includes(label));
  const x = transpose(term.x, { axes: present.map((label) => term.labels.indexOf(label)) });
  let k = 0;
  return reshape(x, { shape: labels.map((label) => (present.includes(label) ? x.shape[k++] : 1)) });
}

/** The product of two terms, summed over the axes that `keep` does not hold. */
function contracted(first: Term, second: Term, keep: (label: string) => boolean): Term {
  const a = summed(first, (label) => keep(label) || second.labels.includes(label));
  const b = summed(second, (label) => keep(label) || first.labels.includes(label));
  const shared = a.labels.filter((label) => b.labels.includes(label));
  const [batch, inner] = [shared.filter(keep), shared.filter((label) => !keep(label))];
  const [rows, columns] = [a, b].map((t) => t.labels.filter((label) => !shared.includes(label))) as [
    string[],
    string[],
  ];
  const labels = [...batch, ...rows, ...columns];
  const sizes = new Map([a, b].flatMap((t) => t.labels.map((label, k) => [label, t.x.shape[k]] as const)));
  const shapeOf = (list: readonly string[]): number[] => list.map((label) => sizes.get(label)!);
  checkShape("einsum", shapeOf(labels));
  if (inner.length === 0 || rows.length + columns.length === 0 || !isFloat(a.x.dtype)) {
    const every = [...labels, ...inner];
    return summed({ x: mul(ordered(a, every), ordered(b, every)), labels: every }, keep);
  }
  const lead = shapeOf(batch);
  const [n, k, m] = [rows, inner, columns].map((list) => size(shapeOf(list))) as [number, number, number];
  const x = reshape(ordered(a, [...batch, ...rows, ...inner]), { shape: [...lead, n, k] });
  const y = reshape(ordered(b, [...batch, ...inner, ...columns]), { shape: [...lead, k, m] });
  return { x: reshape(matmul(x, y), { shape: shapeOf(labels) }), labels };
}

/**
 * Products of tensors, summed over the axes that the result does not name, as `numpy.einsum` and `torch.einsum`. Each
 * axis has a letter; "..." stands for axes that broadcast; an axis that an operand names twice is a diagonal. Pairs are
 * multiplied in the order of the size of their product, floats by `matmul`.
 *
 * @param equation "ij,jk->ik"; without "->" the result has the axes that occur once, in alphabetical order
 * @throws VoxgradError for operands that the equation does not fit
 * @example
 * ```ts
 * import { einsum, ones, tensor } from "voxgrad";
 *
 * const x = tensor([[1, 2], [3, 4]]);
 * await einsum("ii", x).item(); // 5
 * const scores = einsum("bqhd,bkhd->bhqk", ones([2, 5, 3, 8]), ones([2, 7, 3, 8])); // [2, 3, 5, 7]
 * ```
 */
export function einsum(equation: string, ...operands: Tensor[]): Tensor {
  check(typeof equation === "string", "einsum", () => `the equation is a string, got ${show(equation)}`);
  check(operands.length > 0, "einsum", () => "it takes at least one operand");
  operands.forEach((x, k) => check(x instanceof Tensor, "einsum", () => `operand ${k} is a tensor, got ${show(x)}`));
  const { inputs, output } = parse(equation, operands);
  const dtype = arithmetic(operands.map((x) => x.dtype).reduce(promote));
  const terms = operands.map((x, k) => withoutTwins({ x: cast(x, dtype), labels: inputs[k] }));
  const sizes = new Map<string, number>();
  for (const { x, labels } of terms) {
    labels.forEach((label, k) => {
      const [known, n] = [sizes.get(label) ?? 1, x.shape[k]];
      check(
        known === n || known === 1 || n === 1,
        "einsum",
        () => `axis ${show(label.startsWith(ELLIPSIS) ? ELLIPSIS : label)} has sizes ${known} and ${n}`,
      );
      sizes.set(label, known === 1 ? n : known);
    });
  }
  // An axis of size 1 that broadcasts does not vary.
  let open: Term[] = terms.map(({ x, labels }) => {
    const kept = labels.filter((label, k) => x.shape[k] === sizes.get(label));
    return { x: reshape(x, { shape: kept.map((label) => sizes.get(label)!) }), labels: kept };
  });
  while (open.length > 1) {
    const keeps = (a: Term, b: Term) => (label: string): boolean =>
      output.includes(label) || open.some((t) => t !== a && t !== b && t.labels.includes(label));
    const pairs = open.flatMap((a, k) => open.slice(k + 1).map((b) => ({ a, b })));
    const sizeOf = ({ a, b }: { a: Term; b: Term }): number =>
      [...new Set([...a.labels, ...b.labels])].filter(keeps(a, b)).reduce((n, label) => n * sizes.get(label)!, 1);
    const { a, b } = pairs.reduce((best, pair) => (sizeOf(pair) < sizeOf(best) ? pair : best));
    open = [contracted(a, b, keeps(a, b)), ...open.filter((t) => t !== a && t !== b)];
  }
  const result = summed(open[0], (label) => output.includes(label));
  return ordered(result, output);
}
