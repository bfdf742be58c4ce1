/** Reads a scan that was chosen; of several DICOM series the visitor is asked which. */
import { button, type Chosen, make } from "../elements.ts";
import { compute } from "../engine.ts";
import type { ScanView, SeveralSeries } from "../tasks/scans.ts";

/** @throws what reading throws; an AbortError where the visitor chose no series */
export async function openScan(files: readonly Chosen[]): Promise<ScanView> {
  const found = await compute("scans", "openOrList", { files });
  if (!("series" in found)) return found;
  return compute("scans", "open", { files, series: await ask(found) });
}

function ask({ series }: SeveralSeries): Promise<string> {
  const list = make("div", { className: "choices" });
  const dialog: HTMLDialogElement = make(
    "dialog",
    { "aria-labelledby": "which-series" },
    make("h2", { id: "which-series" }, "Which series?"),
    list,
    button("Cancel", () => dialog.close(), { className: "quiet" }),
  );
  return new Promise((resolve, reject) => {
    for (const { id, about } of series) {
      list.append(button(about, () => {
        resolve(id);
        dialog.close();
      }));
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      reject(new DOMException("No series was chosen", "AbortError"));
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
