/** The rooms of tasks, each loaded when it is first asked for. */
export const tasks = {
  scans: () => import("./scans.ts"),
  models: () => import("./models.ts"),
  labels: () => import("./labels.ts"),
  adapt: () => import("./adapt.ts"),
  train: () => import("./train.ts"),
  one_shot: () => import("./one_shot.ts"),
};

/** Their functions. */
export type Tasks = { readonly [K in keyof typeof tasks]: Awaited<ReturnType<(typeof tasks)[K]>> };
