/** The files that the browser keeps for this page: they outlive a reload, a lost device and a closed tab. */
import { directoryFiles, type DirectoryHandle, memoryFiles, mountFiles } from "../../../engine/mod.ts";

type Files = ReturnType<typeof directoryFiles>;

/** A folder of the browser's storage. */
export class Folder {
  readonly #files: Files;
  /** The path by which the engine's functions find it. */
  readonly path: string;

  constructor(files: Files, path: string) {
    this.#files = files;
    this.path = path;
  }

  /** Its name in the files themselves, which know nothing of the mount. */
  #at(name: string): string {
    return `${this.path}/${name}`.replace(/^[^/]*\//, "");
  }

  within(name: string): Folder {
    return new Folder(this.#files, `${this.path}/${name}`);
  }

  /** undefined if there is no such file */
  read = (name: string): Promise<Uint8Array | undefined> => this.#files.read(this.#at(name));

  async write(name: string, data: Uint8Array | string): Promise<void> {
    await this.#files.write(this.#at(name), typeof data === "string" ? new TextEncoder().encode(data) : data);
  }

  has = (name: string): Promise<boolean> => this.#files.exists(this.#at(name));

  remove = (name: string): Promise<void> => this.#files.remove(this.#at(name));

  /** Names of what lies in a folder; none if it does not exist. */
  async list(name: string): Promise<readonly string[]> {
    return (await this.#files.exists(this.#at(name))) ? (await this.#files.list(this.#at(name))) ?? [] : [];
  }

  /** The files below a folder by their paths in it. */
  async all(name: string, below = ""): Promise<Map<string, Uint8Array>> {
    const found = new Map<string, Uint8Array>();
    for (const each of await this.list(`${name}${below}`)) {
      const bytes = await this.read(`${name}${below}/${each}`);
      if (bytes) found.set(`${below}/${each}`.slice(1), bytes);
      else for (const [path, inner] of await this.all(name, `${below}/${each}`)) found.set(path, inner);
    }
    return found;
  }

  /** What a file of JSON holds; `absent` if there is none. */
  async json<T>(name: string, absent: T): Promise<T> {
    const bytes = await this.read(name);
    return bytes ? JSON.parse(new TextDecoder().decode(bytes)) as T : absent;
  }
}

let opened: Promise<Folder> | undefined;

/** The storage of this page; where the browser gives none, as in some private windows, memory. */
export function store(): Promise<Folder> {
  return (opened ??= open());
}

async function open(): Promise<Folder> {
  const files = await navigator.storage.getDirectory().then(
    (root) => directoryFiles(root as unknown as DirectoryHandle),
    () => memoryFiles() as Files,
  );
  return new Folder(files, mountFiles(files, "kept"));
}
