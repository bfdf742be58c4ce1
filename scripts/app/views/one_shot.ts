import type { View } from "../app.ts";
import { group, make } from "../elements.ts";

export function open(): View {
  return {
    element: group(
      "One example",
      make(
        "p",
        { className: "note" },
        "Paint what you look for on a slice; the rest of the scan is found by its similarity.",
      ),
    ),
  };
}
