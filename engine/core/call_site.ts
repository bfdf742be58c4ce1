/** Which line of a user's script called the engine, for messages. */

/** Where the engine's files lie; a bundle has one file for all, whose lines say nothing. */
const root = /^(.*\/engine\/)core\/call_site\.ts/.exec(String((import.meta as { url?: unknown }).url))?.[1];

/**
 * " at FILE:LINE:COLUMN" of the first call in a stack that is not the engine's own; "" where the host does not tell.
 */
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
