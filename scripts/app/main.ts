// The page that `voxgrad serve` opens and `voxgrad site` writes.
import "uplot/dist/uPlot.min.css";
import "./viewer/stage.css";
import "./style.css";
import "./controls.css";
import "./views/training.css";
import { attempt, say, showProblem, showSheet, type View } from "./app.ts";
import { describeAdapter } from "./adapter.ts";
import { droppedFiles } from "./dropped.ts";
import { make } from "./elements.ts";

interface Way {
  readonly title: string;
  readonly load: () => Promise<{ open(): View }>;
}

/** The ways to work, by their names in the address. */
const ways: Readonly<Record<string, Way>> = {
  segment: { title: "Segment", load: () => import("./views/segment.ts") },
  example: { title: "One example", load: () => import("./views/one_shot.ts") },
  adapt: { title: "Adapt", load: () => import("./views/adapt.ts") },
  train: { title: "Train", load: () => import("./views/train.ts") },
};

const panel = document.getElementById("panel")!;
const stage = document.getElementById("stage")!;
const opened = new Map<string, View>();
let shown: View | undefined;

const links = Object.entries(ways).map(([name, { title }]) => make("a", { href: `#${name}` }, title));
document.getElementById("ways")!.append(...links);

async function go(): Promise<void> {
  const asked = location.hash.slice(1);
  const name = asked in ways ? asked : "segment";
  for (const link of links) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${ways[name].title} - voxgrad`;
  const view = opened.get(name) ?? (await ways[name].load()).open();
  opened.set(name, view);
  shown?.hidden?.();
  say("");
  shown = view;
  panel.replaceChildren(view.element);
  stage.hidden = view.wide ?? false;
  document.body.dataset.way = name;
  // What another way shows is gone, unless this one shows something.
  void showSheet(undefined);
  view.shown?.();
}

const moved = (): void => void go().catch(showProblem);
addEventListener("hashchange", () => {
  // The link for the keyboard is no way.
  if (location.hash !== "#panel") moved();
});
addEventListener("unhandledrejection", (event) => showProblem(event.reason));
addEventListener("error", (event) => showProblem(event.error ?? event.message));
addEventListener("beforeunload", (event) => {
  if ([...opened.values()].some((view) => view.unsaved?.())) event.preventDefault();
});
addEventListener("dragover", (event) => {
  // A file that misses its place must not replace the page.
  event.preventDefault();
  document.body.classList.add("dropping");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const view = shown;
  if (!view?.dropped || !event.dataTransfer) return;
  void attempt(async () => view.dropped!(await droppedFiles(event.dataTransfer!)));
});
// Menus close by a press elsewhere, and by Escape.
const closeMenus = (target: EventTarget | null): void => {
  for (const menu of document.querySelectorAll<HTMLDetailsElement>(".menu[open]")) {
    if (!(target instanceof Node && menu.contains(target))) menu.open = false;
  }
};
addEventListener("pointerdown", ({ target }) => closeMenus(target), { capture: true });
addEventListener("keydown", ({ key }) => key === "Escape" && closeMenus(null));
void describeAdapter();
moved();
