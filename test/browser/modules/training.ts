// Twenty steps of a small network on made-up volumes, to be run in Node and in Chromium. Gives the loss of each step.
import {
  compile,
  conv3d,
  crossEntropy,
  leakyRelu,
  random,
  type Tensor,
  tensor,
  tree,
  valueAndGrad,
} from "../../../engine/mod.ts";

interface Parameters {
  first: { weight: Tensor; bias: Tensor };
  last: { weight: Tensor; bias: Tensor };
}

export default async function train(): Promise<number[]> {
  const size = [6, 7, 5] as const;
  const voxels = size[0] * size[1] * size[2];
  const image = tensor(Float32Array.from({ length: voxels }, (_, i) => Math.sin(i * 0.7) + Math.cos(i * 0.13)), {
    shape: [1, 1, ...size],
    dtype: "f32",
  });
  const labels = tensor(
    Int32Array.from({ length: voxels }, (_, i) => Number(Math.sin(i * 0.7) > 0.3) + Number(i % 5 === 0)),
    {
      shape: [1, ...size],
      dtype: "i32",
    },
  );
  const [a, b] = random.split(random.key(7)) as [Tensor, Tensor];
  let params: Parameters = {
    first: {
      weight: random.normal(a, { shape: [4, 1, 3, 3, 3] }).mul(0.2),
      bias: tensor(new Float32Array(4), { shape: [4] }),
    },
    last: {
      weight: random.normal(b, { shape: [3, 4, 3, 3, 3] }).mul(0.1),
      bias: tensor(new Float32Array(3), { shape: [3] }),
    },
  };
  const loss = (p: Parameters, x: Tensor, y: Tensor): Tensor => {
    const hidden = leakyRelu(conv3d(x, p.first.weight, { bias: p.first.bias, padding: 1 }), { slope: 0.01 });
    return crossEntropy(conv3d(hidden, p.last.weight, { bias: p.last.bias, padding: 1 }), y, { axis: 1 });
  };
  const step = compile((p: Parameters, x: Tensor, y: Tensor) => {
    const [value, gradient] = valueAndGrad(loss)(p, x, y);
    const slopes = tree.flatten(gradient);
    const next = tree.map(p, (weight, path) => weight.sub(slopes.get(path)!.mul(0.5)));
    return { value, params: next };
  }, { donate: [0] });

  const losses: number[] = [];
  for (let i = 0; i < 20; i++) {
    const result = await step(params, image, labels);
    params = result.params;
    losses.push(await result.value.item());
  }
  return losses;
}
