// deno-lint-ignore-file no-explicit-any
/** affineGrid against loops in float64. */
import { test } from "uvu";
import * as vg from "../../../engine/mod.ts";
import { type Tensor, tensor } from "../../../engine/mod.ts";
import { assertClose } from "../../helpers/compare.ts";
import { noise } from "../../helpers/noise.ts";
import { refuses } from "../../helpers/refuse.ts";

const size = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const at = (data: ArrayLike<number>, shape: number[]): Tensor => tensor(Float32Array.from(data), { shape });

test("affineGrid() and its gradient agree with a float64 loop", async () => {
  for (
    const space of [
      [5, 7],
      [1, 4],
      [3, 1, 5],
    ]
  ) {
    for (const alignCorners of [false, true]) {
      const dims = space.length;
      const theta = noise(2 * dims * (dims + 1), 1);
      const shape = [2, ...space, dims];
      const g = noise(size(shape), 2);
      const y = new Float64Array(size(shape));
      const dTheta = new Float64Array(theta.length);
      let o = 0;
      for (let n = 0; n < 2; n++) {
        for (let q = 0; q < size(space); q++) {
          let rest = q;
          const place: number[] = [];
          for (let k = dims - 1; k >= 0; k--) {
            const i = rest % space[k];
            rest = (rest - i) / space[k];
            place.push(
              alignCorners ? (space[k] === 1 ? 0 : -1 + (2 * i) / (space[k] - 1)) : (2 * i + 1) / space[k] - 1,
            );
          }
          place.push(1);
          for (let r = 0; r < dims; r++, o++) {
            place.forEach((v, j) => {
              const at = (n * dims + r) * (dims + 1) + j;
              y[o] += theta[at] * v;
              dTheta[at] += g[o] * v;
            });
          }
        }
      }
      const f = (t: Tensor): Tensor => vg.affineGrid(t, { size: [2, 3, ...space], alignCorners });
      const [value, pullback] = vg.vjp(f, [at(theta, [2, dims, dims + 1])]);
      const gradient = pullback(at(g, shape))[0];
      await assertClose(value, { shape, data: y }, 1e-6, "affineGrid");
      await assertClose(gradient, { shape: [2, dims, dims + 1], data: dTheta }, 1e-5, "affineGrid gradient");
    }
  }
});

test("affineGrid() throws on bad arguments", () => {
  const affine = vg.affineGrid as (...args: any[]) => Tensor;
  refuses(
    () => affine(vg.zeros([1, 2, 4, 4]), { size: [1, 1, 4, 4] }),
    /^affineGrid: theta is an f32 tensor \[N, 2, 3\] or \[N, 3, 4\]/,
  );
  refuses(() => affine(vg.zeros([1, 2, 3])), /options are an object/);
  refuses(() => affine(vg.zeros([1, 2, 3]), {}), /a shape is an array of integers >= 0, got undefined/);
  refuses(() => affine(vg.zeros([1, 2, 3]), { size: [2, 1, 4, 4] }), /size is \[1, C, H, W\], none of them 0/);
  refuses(() => affine(vg.zeros([1, 3, 4]), { size: [1, 1, 4, 4] }), /size is \[1, C, D, H, W\]/);
  refuses(
    () => affine(vg.zeros([1, 2, 3]), { size: [1, 1, 4, 4], alignCorners: "no" }),
    /alignCorners is true or false/,
  );
});

test.after(vg.closeDevice);
test.run();
