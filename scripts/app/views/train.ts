import type { View } from "../app.ts";
import { group, make } from "../elements.ts";

export function open(): View {
  return { element: group("Train a model", make("p", { className: "note" }, "Choose a dataset and train on it.")) };
}
