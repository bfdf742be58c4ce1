// The page of `voxgrad serve`: starts the worker that runs the script, and shows its output.
import "./language.ts";
import "uplot/dist/uPlot.min.css";
import "./page.css";
import type { Message, Start } from "./served.ts";
import { addFile, clearFiles } from "./files.ts";
import { addPoint, clearPlots } from "./plots.ts";

const element = <T extends HTMLElement = HTMLElement>(id: string): T => document.getElementById(id) as T;
const [log, fill, now, errorCard] = ["log", "fill", "now", "error"].map((id) => element(id)) as [
  HTMLElement,
  HTMLElement,
  HTMLElement,
  HTMLElement,
];
const args = element<HTMLInputElement>("args");
const folder = element<HTMLInputElement>("folder");

const run = (await (await fetch("run.json")).json()) as { script: string; args: string[] };
let worker: Worker | undefined;

element("title").textContent = document.title = run.script;
const quoted = (word: string): string => (/[\s"]/.test(word) ? JSON.stringify(word) : word);
args.value = run.args.map(quoted).join(" ");
element<HTMLFormElement>("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
element("stop").addEventListener("click", () => {
  worker?.terminate();
  setState("stopped", "bad");
});
folder.addEventListener("change", () => {
  const chosen = folder.files?.[0]?.webkitRelativePath.split("/")[0];
  if (!chosen) return;
  const note = element("data");
  note.textContent = `${folder.files!.length} files of ${chosen} are at hand; they stay on this machine.`;
  note.hidden = false;
  const others = args.value.replace(/(^|\s)--data(?:[\s=]+("(?:[^"\\]|\\.)*"|\S+)|$)/, "");
  args.value = `${others} --data ${quoted(chosen)}`.trim();
});
start();

function start(): void {
  worker?.terminate();
  log.textContent = "";
  now.textContent = "\u00a0";
  fill.style.width = "0";
  errorCard.hidden = true;
  clearPlots();
  clearFiles();
  setState("running", "live");
  const words = [...args.value.matchAll(/"((?:[^"\\]|\\.)*)"|(\S+)/g)];
  const name: Start = {
    args: words.map((word) => (word[1] === undefined ? word[2] : (JSON.parse(`"${word[1]}"`) as string))),
  };
  worker = new Worker("worker.js", { type: "module", name: JSON.stringify(name) });
  worker.addEventListener("message", (event: MessageEvent<Message>) => show(event.data));
  worker.addEventListener("error", (event) => {
    event.preventDefault();
    showError(event.message || "The worker could not be loaded", `${event.filename ?? ""}:${event.lineno ?? ""}`);
  });
  const files = [...(folder.files ?? [])].map((file): [string, Blob] => [file.webkitRelativePath, file]);
  worker.postMessage({ files });
}

function show(message: Message): void {
  switch (message.type) {
    case "log": {
      const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 20;
      log.append(`${message.line}\n`);
      if (atEnd) log.scrollTop = log.scrollHeight;
      return;
    }
    case "progress": {
      const { done, total, text, series } = message.progress;
      const percent = total > 0 ? Math.min(100, (100 * done) / total) : 0;
      fill.style.width = `${percent}%`;
      fill.parentElement!.setAttribute("aria-valuenow", percent.toFixed(0));
      now.textContent = text;
      for (const [name, value] of Object.entries(series ?? {})) addPoint(name, done, value);
      return;
    }
    case "adapter": {
      const chip = element("adapter");
      chip.textContent = message.kind === "software" ? `${message.driver} (on the CPU)` : message.driver;
      chip.classList.add("good");
      return;
    }
    case "file":
      return addFile(message.path, message.content);
    case "done":
      return setState("done", "good");
    case "error":
      return showError(message.message, message.stack);
  }
}

function showError(message: string, detail: string): void {
  setState("failed", "bad");
  errorCard.hidden = false;
  element("errortext").textContent = detail.includes(message) ? detail : `${message}\n${detail}`;
}

function setState(text: string, look: "live" | "good" | "bad"): void {
  const chip = element("state");
  chip.textContent = text;
  chip.className = `chip ${look}`;
  element<HTMLButtonElement>("stop").disabled = look !== "live";
}
