/** Files that are not those of the disk: in memory, and folders that are mounted. */
import { File } from "node:buffer";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { platform } from "#platform";
import {
  closeDevice,
  directoryFiles,
  type DirectoryHandle,
  type FileSystem,
  memoryFiles,
  mountFiles,
  setHost,
  unmountFiles,
} from "../../engine/mod.ts";
import { fingerprintDataset, loadCase, openDataset, writePhantomDataset } from "../../engine/imaging/mod.ts";
import { PlatformError } from "../../engine/platform/types.ts";
import { openTraining, trainingEntries, withDefaults } from "../../engine/train/mod.ts";
import "../../models/mod.ts";
import { fileSystemFaults } from "../helpers/file_system_checks.ts";
import { failure } from "../helpers/refuse.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-files-"));
test.after.each(() => setHost({ log: undefined, onProgress: undefined, files: undefined }));
test.after(async () => {
  await closeDevice();
  await rm(folder, { recursive: true, force: true });
});

/** The files of a folder as a page gets them, with paths relative to the folder around it. */
async function filesOf(root: string, prefix: string): Promise<File[]> {
  const names = await readdir(root, { recursive: true, withFileTypes: true });
  return Promise.all(
    names.filter((entry) => entry.isFile()).map(async (entry) => {
      const path = join(entry.parentPath, entry.name);
      return new File([await readFile(path)], `${prefix}${path.slice(root.length + 1)}`);
    }),
  );
}

test("memoryFiles() reads, writes, appends, lists and removes", async () => {
  assert.equal(await fileSystemFaults(memoryFiles()), []);
});

test("setHost({ files }) takes the place of the disk, with paths in one root", async () => {
  setHost({ files: memoryFiles() });
  const path = join(folder, "a/b.txt");
  await platform.writeFile(path, "in memory");
  assert.is(new TextDecoder().decode(await platform.readFile(path)), "in memory");
  assert.is(new TextDecoder().decode(await platform.readFile(`/${folder}/./a/c/../b.txt`)), "in memory");
  assert.equal(await platform.listFiles(join(folder, "a")), ["b.txt"]);
  assert.is((await failure(() => platform.listFiles(path), PlatformError)).code, "not-a-folder");
  const missing = await failure(() => platform.readFile("none.nii"), PlatformError);
  assert.is(missing.code, "no-such-file");
  assert.match(missing.message, /Cannot read none\.nii: there is no such file \(only those exist that were chosen/);
  assert.equal(await readdir(folder), []);
  setHost({ files: undefined });
  assert.not(await platform.exists(path));
});

test("setHost({ files }) says what files of one's own throw, with the path", async () => {
  const fails = (): Promise<never> => Promise.reject(new Error("the quota is used up"));
  setHost({ files: { ...Object.fromEntries(["read", "write", "append"].map((name) => [name, fails])) } as never });
  const error = await failure(() => platform.writeFile("run/model.safetensors", "x"), PlatformError);
  assert.is(error.code, "file-failed");
  assert.is(error.message, "Cannot write run/model.safetensors: the quota is used up");
});

test("setHost() gives lines and progress to the host, and refuses what it does not know", async () => {
  const [lines, texts] = [[] as string[], [] as string[]];
  setHost({ log: (line) => lines.push(line), onProgress: ({ text }) => texts.push(text) });
  platform.log("a line");
  setHost({ log: undefined });
  platform.progress({ done: 1, total: 2, text: "half" });
  assert.equal([lines, texts], [["a line"], ["half"]]);
  const unknown = await failure(() => setHost({ onLog: () => {} } as never), PlatformError);
  assert.match(unknown.message, 'setHost: unknown option "onLog"; there are log(line) and onProgress(');
  const odd = await failure(() => setHost({ files: "disk" } as never), PlatformError);
  assert.match(odd.message, "setHost: files is string; it takes");
});

const data = join(folder, "Task07_Phantom");

test("openDataset() takes Files of a page's input, and gives what it gives of the disk", async () => {
  await writePhantomDataset(data, { cases: 2, seed: 3, shape: [20, 18, 16] });
  const onDisk = await openDataset(data);
  const chosen = await openDataset(await filesOf(data, "Task07_Phantom/"));
  const moved = (text: string) => text.replaceAll(data, "mounted:Task07_Phantom");
  assert.equal(JSON.parse(JSON.stringify(chosen)), JSON.parse(moved(JSON.stringify(onDisk))));
  const [a, b] = [await loadCase(onDisk, onDisk.cases[1]), await loadCase(chosen, chosen.cases[1])];
  assert.equal(b.image.data, a.image.data);
  assert.equal(b.label!.data, a.label!.data);
  // Worker threads see no mounts, so the calling thread does it.
  assert.equal(await fingerprintDataset(chosen, { workers: 2 }), await fingerprintDataset(onDisk, { workers: 2 }));
  const flat = await openDataset(await filesOf(data, ""));
  assert.is(flat.folder, "mounted:files");
  assert.is(flat.cases.length, 2);
});

test("mountFiles() names folders apart, keeps a given name, and refuses what is none", async () => {
  const some = [new File(["1"], "scans/a.txt")];
  const first = mountFiles(some);
  assert.is(first, "mounted:scans");
  assert.is(mountFiles(some), first);
  assert.is(mountFiles([new File(["2"], "scans/a.txt")]), "mounted:scans-2");
  assert.is(mountFiles([new File(["3"], "scans/a.txt")], "data"), "mounted:data");
  assert.is(mountFiles([new File(["4"], "scans/a.txt")], "data"), "mounted:data");
  const text = async (path: string) => new TextDecoder().decode(await platform.readFile(path));
  assert.equal(await Promise.all([first, "mounted:scans-2", "mounted:data"].map((each) => text(`${each}/a.txt`))), [
    "1",
    "2",
    "4",
  ]);
  assert.is(await platform.realPath(`${first}/./b/../a.txt`), `${first}/a.txt`);
  // No path leads out of a mount.
  for (const path of [`${first}/../scans-2/a.txt`, `${first}/../..${data}/dataset.json`]) {
    assert.is((await failure(() => text(path), PlatformError)).code, "no-such-file", path);
  }
  const gone = await failure(() => platform.exists("mounted:elsewhere/a.txt"), PlatformError);
  assert.match(gone.message, "mounted:elsewhere is not mounted here; mount its folder first, by mountFiles");
  const twice = await failure(() => mountFiles([new File([], "x/a"), new File([], "x/./a")]), PlatformError);
  assert.match(twice.message, "two files are a; choose their folder as a whole");
  for (const value of [null, 3, "data", {}, [3]]) {
    const error = await failure(() => mountFiles(value as never), PlatformError);
    assert.match(error.message, "wanted a FileSystemDirectoryHandle, Files, or a FileSystem");
  }
  const own: FileSystem = memoryFiles();
  await platform.writeFile(`${mountFiles(own, "own")}/deep/b.txt`, "written into it");
  assert.is(new TextDecoder().decode(await own.read("deep/b.txt")), "written into it");
});

test("unmountFiles() takes a folder's path away, which another may then have", async () => {
  const list = [new File(["1"], "gone/a.txt")];
  const path = mountFiles(list);
  unmountFiles(path);
  assert.is((await failure(() => platform.readFile(`${path}/a.txt`), PlatformError)).code, "no-such-file");
  const error = await failure(() => unmountFiles(path), PlatformError);
  assert.match(error.message, `unmountFiles: ${path} is not mounted; there is mounted:`);
  assert.is(mountFiles([new File(["2"], "gone/a.txt")]), path);
  assert.is(mountFiles(list), `${path}-2`, "the same list is mounted anew");
});

test("directoryFiles() leaves no empty file where a new one cannot be written and files cannot move", async () => {
  const names = new Set<string>();
  const file = (name: string, full: boolean) => ({
    kind: "file",
    name,
    createWritable: async () => ({
      write: async () => {
        if (full) throw new DOMException("no room", "QuotaExceededError");
      },
      close: async () => undefined,
      abort: async () => undefined,
    }),
  });
  const root = {
    kind: "directory",
    name: "chosen",
    getFileHandle: async (name: string, { create = false } = {}) => {
      if (!create && !names.has(name)) throw new DOMException("none", "NotFoundError");
      names.add(name);
      return file(name, !name.endsWith(".tmp"));
    },
    removeEntry: async (name: string) => void names.delete(name),
  };
  const files = directoryFiles(root as unknown as DirectoryHandle);
  const error = await files.write("a.txt", new Uint8Array(1)).then(() => undefined, (each: Error) => each);
  assert.is(error?.name, "QuotaExceededError");
  assert.equal([...names], []);
});

test("openTraining() takes Files as data and prepares their cases in files of one's own", async () => {
  const files = memoryFiles();
  setHost({ files, log: () => undefined });
  const options = withDefaults(trainingEntries, { run: "run", folds: 2, features: [4, 8], patch: [16, 16, 16] });
  const training = await openTraining({ ...options, data: await filesOf(data, "Task08/") });
  assert.is(training.options.data, "mounted:Task08");
  const { image } = await training.batch(training.folds[0].split, 1);
  assert.equal(image.shape.slice(0, 2), [training.plan.batch, 1]);
  assert.not(await platform.exists("runs/prepared"), "files in memory hold no second copy");
  assert.equal(await readdir(folder), ["Task07_Phantom"]);
});

test.run();
