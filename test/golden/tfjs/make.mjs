// Writes the models and numbers of this folder with TensorFlow.js 4.22.0, its CPU backend:
// npm install --no-save --ignore-scripts @tensorflow/tfjs@4.22.0 && node test/golden/tfjs/make.mjs
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL(".", import.meta.url));
const tf = createRequire(`${process.cwd()}/package.json`)("@tensorflow/tfjs");
await tf.setBackend("cpu");
const { layers } = tf;

const wave = (count, k) => Float32Array.from({ length: count }, (_, i) => Math.sin(k * i + 0.1 * k));

/** A MeshNet: dilated convolutions and activations; TensorFlow.js has no batch norm in three dimensions. */
function meshnet() {
  const input = tf.input({ shape: [12, 12, 12, 1], name: "input" });
  const conv = (x, name, dilation, activation) =>
    layers.conv3d({ name, filters: 4, kernelSize: 3, padding: "same", dilationRate: dilation, activation }).apply(x);
  const activation = (x, name) => layers.activation({ activation: name, name }).apply(x);
  let x = activation(conv(input, "21", 1), "elu");
  x = activation(conv(x, "23", 2, "linear"), "relu");
  x = activation(layers.dropout({ rate: 0.1, name: "dropout" }).apply(conv(x, "25", 4)), "gelu");
  x = activation(conv(x, "27", 2, "sigmoid"), "gelu_new");
  x = layers.conv3d({ name: "output", filters: 3, kernelSize: 1, activation: "linear" }).apply(x);
  return tf.model({ inputs: input, outputs: x });
}

/** Down, up and across. */
function unet() {
  const input = tf.input({ shape: [null, null, null, 2], name: "image" });
  const conv = (x, filters, options) =>
    layers.conv3d({ filters, kernelSize: [3, 2, 3], padding: "same", ...options }).apply(x);
  const first = layers.leakyReLU({ alpha: 0.2 }).apply(conv(input, 4, { name: "first" }));
  const down = layers.prelu({ sharedAxes: [1, 2, 3], name: "prelu" }).apply(
    conv(first, 6, { name: "down", strides: 2, useBias: false }),
  );
  const pooled = layers.maxPooling3d({ poolSize: 2, padding: "same" }).apply(first);
  const mean = layers.averagePooling3d({ poolSize: 3, strides: 2, padding: "same" }).apply(first);
  let x = layers.concatenate({ axis: -1 }).apply([down, pooled, mean]);
  x = layers.activation({ activation: "swish" }).apply(x);
  const up = layers.conv3dTranspose({ name: "up", filters: 4, kernelSize: 3, strides: 2, padding: "same" }).apply(x);
  const sum = layers.add().apply([up, first]);
  const product = layers.multiply().apply([sum, layers.activation({ activation: "tanh" }).apply(first), sum]);
  const both = layers.maximum().apply([product, layers.average().apply([up, first])]);
  const out = layers.conv3dTranspose({ name: "wide", filters: 3, kernelSize: 2, activation: "softmax" }).apply(both);
  return tf.model({ inputs: input, outputs: out });
}

/** Two dimensions, one layer after the other. */
function classifier() {
  return tf.sequential({
    layers: [
      layers.conv2d({ inputShape: [11, 9, 2], filters: 4, kernelSize: 3, activation: "hardSigmoid", name: "conv" }),
      layers.zeroPadding2d({ padding: [[1, 0], [2, 1]] }),
      layers.upSampling2d({ size: [2, 1] }),
      layers.cropping2D({ cropping: [[1, 2], [0, 1]] }),
      layers.averagePooling2d({ poolSize: 2 }),
      layers.batchNormalization({ scale: false, epsilon: 0.01, name: "norm" }),
      layers.reLU({ maxValue: 0.6 }),
      layers.dense({ units: 3, activation: "softplus", name: "each" }),
      layers.flatten(),
      layers.dense({ units: 5, activation: "selu", name: "dense" }),
      layers.softmax(),
    ],
  });
}

const golden = {};
for (const [name, model, input] of [
  ["meshnet", meshnet(), [1, 12, 12, 12, 1]],
  ["unet", unet(), [2, 6, 8, 10, 2]],
  ["classifier", classifier(), [2, 11, 9, 2]],
]) {
  model.layers.forEach((layer, k) => {
    const values = layer.weights.map((weight, j) => {
      const { shape } = weight;
      const own = wave(shape.reduce((a, b) => a * b, 1), 0.7 + 0.13 * k + 0.31 * j);
      const positive = /variance/.test(weight.name);
      return tf.tensor(own.map((v) => (positive ? 1.5 + v : 0.4 * v)), shape);
    });
    layer.setWeights(values);
  });
  await model.save({
    save({ modelTopology, weightSpecs, weightData }) {
      const weightsManifest = [{ paths: [`${name}.bin`], weights: weightSpecs }];
      const json = { format: "layers-model", generatedBy: "TensorFlow.js 4.22.0", modelTopology, weightsManifest };
      writeFileSync(`${folder}${name}.json`, JSON.stringify(json));
      writeFileSync(`${folder}${name}.bin`, Buffer.from(weightData));
      return { modelArtifactsInfo: {} };
    },
  });
  const channelsFirst = [0, input.length - 1, ...input.slice(1, -1).map((_, k) => k + 1)];
  const channelsLast = [0, ...input.slice(1, -1).map((_, k) => k + 2), 1];
  const shape = channelsFirst.map((axis) => input[axis]);
  const x = tf.transpose(tf.tensor(wave(input.reduce((a, b) => a * b, 1), 0.37), shape), channelsLast);
  const y = model.predict(x);
  const own = y.rank === 2 ? y : tf.transpose(y, channelsFirst);
  const stride = Math.ceil(own.size / 400) | 1;
  const values = [...own.dataSync()].filter((_, k) => k % stride === 0).map((v) => +v.toPrecision(7));
  golden[name] = { input: shape, output: own.shape, stride, values };
}
writeFileSync(`${folder}golden.json`, JSON.stringify(golden));
