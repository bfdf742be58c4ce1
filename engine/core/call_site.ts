/** Finds the line of the user's script that called the engine, for error messages. */

/** Directory of the engine's sources. In a bundle all code is in one file, so line numbers would not help. */
const root = /^(.*\/engine\/)core\/call_site\.[jt]s/.exec(String((import.meta as { url?: unknown }).url))?.[1];

/** The first stack frame outside the engine, and the name of the function that it called, or "". */
export function userCall(stack: string | undefined): { readonly place: string; readonly callee: string } | null {
  if (!root || !stack) return null;
  let inner = "";
  for (const line of stack.split("\n")) {
    const place = /(?:^|[\s(@])((?:file|https?|\/)\S*:\d+:\d+)\)?$/.exec(line)?.[1]?.replace(/^file:\/\//, "");
    if (place && !place.startsWith(root.replace(/^file:\/\//, ""))) {
      return { place, callee: /^\s*at (?:[\w$]+\.)?([a-z]\w{2,}) \(/.exec(inner)?.[1] ?? "" };
    }
    if (place) inner = line;
  }
  return null;
}

/** " at FILE:LINE:COLUMN" of the first stack frame outside the engine; "" if the host gives no usable stack. */
export function callSite(stack: string | undefined): string {
  const call = userCall(stack);
  return call ? ` at ${call.place}` : "";
}
