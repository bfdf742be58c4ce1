const list = document.getElementById("files")!;
const none = document.getElementById("nofiles")!;
const rows = new Map<string, HTMLLIElement>();

/**
 * Offers a file for download, or for viewing if it is a page, with a preview if it is an image. Writing a file again
 * replaces it.
 */
export function addFile(path: string, content: Blob): void {
  const old = rows.get(path);
  if (old) release(old);
  const row = old ?? document.createElement("li");
  const kind = { svg: "image/svg+xml", png: "image/png", html: "text/html" }[path.split(".").pop() ?? ""];
  const url = URL.createObjectURL(kind ? content.slice(0, content.size, kind) : content);

  const link = document.createElement("a");
  link.href = url;
  // Open reports in a tab; download everything else.
  if (kind === "text/html") link.target = "_blank";
  else link.download = path.split("/").pop()!;
  link.textContent = path;
  const size = document.createElement("span");
  size.textContent = bytes(content.size);
  row.replaceChildren(link, size);
  if (kind?.startsWith("image/")) {
    const picture = document.createElement("img");
    picture.src = url;
    picture.alt = path;
    row.append(picture);
  }
  if (!old) list.append(row);
  rows.set(path, row);
  none.hidden = true;
}

export function clearFiles(): void {
  for (const row of rows.values()) release(row);
  rows.clear();
  list.replaceChildren();
  none.hidden = false;
}

function release(row: HTMLLIElement): void {
  URL.revokeObjectURL(row.querySelector("a")!.href);
}

function bytes(count: number): string {
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}
