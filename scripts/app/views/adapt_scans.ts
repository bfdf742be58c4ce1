import { button, make, select } from "../elements.ts";
import type { AdaptScan, Role } from "../tasks/adapt_state.ts";

const ROLES: readonly (readonly [Role, string])[] = [
  ["learn", "learn from it"],
  ["held", "measure on it"],
  ["watch", "look at it"],
];

interface Host {
  open(scan: AdaptScan): unknown;
  role(id: string, role: Role): unknown;
  remove(id: string): unknown;
}

/** A row of the list of scans: its name, what it is there for, and whether it was corrected. */
export function scanRow(scan: AdaptScan, isShown: boolean, host: Host): HTMLElement {
  const { id, name, corrected } = scan;
  const role = select(`Use of ${name}`, ROLES, (value) => host.role(id, value as Role));
  role.input.value = scan.role;
  role.row.querySelector("span")!.className = "unseen";
  const state = scan.role === "watch" ? "" : corrected ? "corrected" : "to correct";
  return make(
    "li",
    {},
    button(name, () => host.open(scan), { className: "quiet name", "aria-pressed": String(isShown) }),
    make("span", { className: corrected ? "state good" : "state" }, state),
    role.row,
    button("\u00d7", () => host.remove(id), { className: "quiet", "aria-label": `Remove ${name}` }),
  );
}
