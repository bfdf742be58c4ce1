/** Reads a file wherever it is: on the disk, on a server, chosen in a page, or in memory. */
import { platform } from "#platform";
import { PlatformError } from "./types.ts";

/** A file that a page was given access to; the browser's FileSystemFileHandle is one. */
export interface FileHandle {
  readonly kind: "file";
  readonly name: string;
  getFile(): Promise<Blob>;
}

/**
 * A file: its path, its address (a URL, or a string that starts with "http:", "https:", "blob:", "data:" or "file:"), a
 * Blob or File, its bytes, or a file handle of a page.
 */
export type FileSource = string | URL | Blob | ArrayBuffer | Uint8Array | FileHandle;

/** The content of a file. */
export interface SourceBytes {
  readonly bytes: Uint8Array;
  /** Its path, its address, or the name that it has; "data" for bytes without a name. */
  readonly name: string;
}

const ADDRESS = /^(?:https?|blob|data|file):/i;

/** Whether a source is a path in the host's files. */
export const isPath = (source: unknown): source is string => typeof source === "string" && !ADDRESS.test(source);

/**
 * Reads a file.
 *
 * @throws PlatformError if it does not exist or cannot be read, with the server's status for an address, or if `source`
 *   is no source of a file
 * @example
 * ```ts
 * import { readSource } from "voxgrad/train";
 *
 * const { bytes, name } = await readSource(new URL("https://example.org/scan.nii.gz"));
 * ```
 */
export async function readSource(source: FileSource): Promise<SourceBytes> {
  if (isPath(source)) return { bytes: await readPath(source), name: source };
  if (typeof source === "string") return fetched(source);
  // Told apart by what they offer, since values of other windows and realms are instances of other classes.
  if (typeof source === "object" && source !== null) {
    if (source instanceof Uint8Array) return { bytes: source, name: "data" };
    if (ArrayBuffer.isView(source)) {
      return { bytes: new Uint8Array(source.buffer, source.byteOffset, source.byteLength), name: "data" };
    }
    if (Object.prototype.toString.call(source) === "[object ArrayBuffer]") {
      return { bytes: new Uint8Array(source as ArrayBuffer), name: "data" };
    }
    if ("arrayBuffer" in source) return ofBlob(source);
    if ("href" in source) return fetched(source.href);
    if ("getFile" in source) return ofBlob(await source.getFile(), source.name);
  }
  throw new PlatformError(
    "invalid-argument",
    `Cannot read ${described(source)} as a file: wanted a path, a URL, a Blob or File, an ArrayBuffer or Uint8Array, ` +
      "or a FileSystemFileHandle",
  );
}

async function readPath(path: string): Promise<Uint8Array> {
  try {
    return await platform.readFile(path);
  } catch (error) {
    if (platform.name !== "browser" || !(error instanceof PlatformError)) throw error;
    const fix = `to load a file from a server give its address: new URL("${path}", location.href)`;
    throw new PlatformError(error.code, `${error.message}; ${fix}`, path, error);
  }
}

async function ofBlob(blob: Blob & { readonly name?: string }, name = blob.name || "data"): Promise<SourceBytes> {
  try {
    return { bytes: new Uint8Array(await blob.arrayBuffer()), name };
  } catch (error) {
    // A chosen file that was changed or removed since.
    throw new PlatformError("file-failed", `Cannot read ${name}: ${(error as Error).message}`, name, error);
  }
}

async function fetched(url: string): Promise<SourceBytes> {
  const name = /^data:/i.test(url) ? "data" : url;
  const failed = (why: string, cause?: unknown, code: PlatformError["code"] = "file-failed"): PlatformError =>
    new PlatformError(code, `Cannot fetch ${name}: ${why}`, name, cause);
  if (/^file:/i.test(url)) {
    if (platform.name === "browser") {
      throw failed("a page cannot read file: addresses; let its visitor choose the file");
    }
    const path = pathOf(url);
    return { bytes: await platform.readFile(path), name: path };
  }
  let response: Awaited<ReturnType<typeof fetch>>;
  try {
    response = await fetch(url);
  } catch (error) {
    const { message, cause } = error as Error;
    const hint = platform.name === "browser" ? "; another server must allow it (Access-Control-Allow-Origin)" : "";
    throw failed(`${cause instanceof Error ? cause.message : message}${hint}`, error);
  }
  const { ok, status, statusText } = response;
  if (!ok) {
    throw failed(
      `the server answers ${status} ${statusText}`.trim(),
      undefined,
      status === 404 ? "no-such-file" : undefined,
    );
  }
  try {
    return { bytes: new Uint8Array(await response.arrayBuffer()), name };
  } catch (error) {
    throw failed(`the connection ended early (${(error as Error).message})`, error);
  }
}

/** The path of a file: address. */
function pathOf(url: string): string {
  const path = decodeURIComponent(url.replace(/^file:(?:\/\/[^/]*)?/i, "").replace(/[?#].*$/, ""));
  return /^\/[a-z]:/i.test(path) ? path.slice(1) : path;
}

function described(value: unknown): string {
  if (typeof value !== "object" || value === null) return typeof value === "function" ? "a function" : String(value);
  if ("kind" in value && value.kind === "directory" && "name" in value) return `the folder ${value.name}`;
  return `an object of class ${value.constructor?.name ?? "Object"}`;
}
