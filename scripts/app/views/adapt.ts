import type { View } from "../app.ts";
import { group, make } from "../elements.ts";

export function open(): View {
  return {
    element: group(
      "Adapt a model",
      make("p", { className: "note" }, "Correct a few scans and teach the model with them."),
    ),
  };
}
