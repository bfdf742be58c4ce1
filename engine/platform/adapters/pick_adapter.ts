/** The choice of one adapter among those that the host lists. */
import { PlatformError } from "../types.ts";

/** "#0 NAME, #1 NAME, ...". */
export const listed = (names: readonly string[], places: readonly number[] = [...names.keys()]): string =>
  places.map((place) => `#${place} ${names[place]}`).join(", ");

/**
 * The name of the adapter that `wanted` asks for; undefined if there is none.
 *
 * @param names as Dawn lists them
 * @param wanted part of a name; "#1", the second of the list; "geforce#1", the second of those
 * @throws PlatformError if adapters of several names match, or if Dawn would take another of the same name
 */
export function pickAdapter(names: readonly string[], wanted: string): string | undefined {
  const [, part, place] = /^(.*?)(?:#(\d+))?$/s.exec(wanted)!;
  const matching = [...names.keys()].filter((k) => names[k].toLowerCase().includes(part.toLowerCase()));
  if (matching.length === 0) return undefined;
  const fail = (problem: string): never => {
    throw new PlatformError("no-adapter", `adapter "${wanted}": ${problem}`);
  };
  if (place === undefined) {
    // A name that is part of another is that adapter's, not both.
    const whole = matching.filter((k) => names[k].toLowerCase() === part.toLowerCase());
    const chosen = new Set((whole.length > 0 ? whole : matching).map((k) => names[k]));
    if (chosen.size > 1) fail(`several have this in their name: ${listed(names, matching)}; name one, or its place`);
    return taken(names, names.indexOf([...chosen][0]), fail);
  }
  if (Number(place) >= matching.length) {
    const count = part === "" ? `adapter${names.length === 1 ? "" : "s"}` : "with this in the name";
    fail(
      `places count from #0, and there ${matching.length === 1 ? "is" : "are"} ${matching.length} ${count}: ` +
        listed(names, matching),
    );
  }
  return taken(names, matching[Number(place)], fail);
}

/** The name at a place; Dawn takes the first adapter whose name contains what it is given. */
function taken(names: readonly string[], place: number, fail: (problem: string) => never): string {
  const first = names.findIndex((name) => name.includes(names[place]));
  if (first === place) return names[place];
  return fail(
    `Dawn tells adapters apart by name alone and would take #${first} of ${listed(names)}; let the driver show the ` +
      "other first or alone: by DRI_PRIME=1 where Mesa's device selection is installed, in containers by the devices " +
      "that they are given",
  );
}
