/** The experiments by name. */
interface Module {
  /** Takes steps, and gives the loss before each. */
  run(steps: number): Promise<number[]>;
}

export const experiments: Readonly<Record<string, () => Promise<Module>>> = {
  classifier: () => import("./classifier.ts"),
  transformers: () => import("./transformers.ts"),
  maml: () => import("./maml.ts"),
  sam: () => import("./sam.ts"),
  wgan_gp: () => import("./wgan_gp.ts"),
  dp_sgd: () => import("./dp_sgd.ts"),
  indices: () => import("./indices.ts"),
  segmentation_losses: () => import("./segmentation_losses.ts"),
  loops: () => import("./loops.ts"),
  resume: () => import("./resume.ts"),
  unet: () => import("./unet.ts"),
  dynamics: () => import("./dynamics.ts"),
};
