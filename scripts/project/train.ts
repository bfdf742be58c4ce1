// Trains a 3D U-Net and segments a scan with it: `npm start`. Without data it makes synthetic scans first;
// `npm start -- DATA --steps 1000` takes a folder in the layout of nnU-Net or of the Medical Segmentation Decathlon,
// and `npm start -- --help` lists the other options.
import { closeDevice, compile, type Params, random, type Tensor, valueAndGrad } from "voxgrad";
import { architectureOf, networkFromPlan } from "voxgrad/models";
import { adam, diceCrossEntropy, type OptimizerState } from "voxgrad/nn";
import { config, openTraining, type Patches, runFolds, segmenter, stepMetrics, trainingEntries } from "voxgrad/train";

interface State {
  readonly params: Params;
  readonly optimizer: OptimizerState;
}

// Data, how it is prepared, and the network that follows from it.
const training = await openTraining(config(trainingEntries));
const { plan } = training;
const network = networkFromPlan(plan);
const optimizer = adam();

// One step: loss, gradients, update, as one program on the GPU.
const lossOf = (params: Params, { image, label }: Patches): [loss: Tensor, logits: Tensor] => {
  const logits = network.apply(params, image) as Tensor;
  return [diceCrossEntropy(logits, label), logits];
};
const step = compile((state: State, patches: Patches, key: Tensor, rate: Tensor) => {
  const batch = training.augmented(key, patches);
  const [[loss, logits], grads] = valueAndGrad(lossOf, { hasAux: true })(state.params, batch);
  const [params, next] = optimizer.update(grads, state.optimizer, state.params, rate);
  return [{ params, optimizer: next }, stepMetrics(loss, logits, batch.label)] as const;
}, { donate: [0] });

// The loop: log, curves, checkpoints and the model, and the measures of the cases held out.
const model = { network: plan.network.name, architecture: architectureOf(plan), plan };
await runFolds<State>(training, { model, config: {} }, () => {
  const params = network.init(random.key(1));
  return {
    state: { params, optimizer: optimizer.init(params) },
    training: {
      rate: () => 1e-2,
      step: (state, patches, rate, k) => step(state, patches, training.key(k), rate),
      program: () => step,
    },
    segment: ({ params }) => segmenter(network, params, { plan }),
  };
});
await closeDevice();
