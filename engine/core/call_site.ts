/** Finds the line of the user's script that called the engine, for error messages. */

/** Directory of the engine's sources. In a bundle all code is in one file, so line numbers would not help. */
const root = /^(.*\/engine\/)core\/call_site\.[jt]s/.exec(String((import.meta as { url?: unknown }).url))?.[1];

/** " at FILE:LINE:COLUMN" of the first stack frame outside the engine; "" if the host gives no usable stack. */
export function callSite(stack: string | undefined): string {
  if (!root || !stack) return "";
  for (const line of stack.split("\n")) {
    const place = /(?:^|[\s(@])((?:file|https?|\/)\S*:\d+:\d+)\)?$/.exec(line)?.[1];
    if (!place) continue;
    const path = place.replace(/^file:\/\//, "");
    if (!path.startsWith(root.replace(/^file:\/\//, ""))) return ` at ${path}`;
  }
  return "";
}
