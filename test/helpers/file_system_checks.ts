/** What every FileSystem does, by calls that work in Node and in a page. */
import type { FileSystem } from "../../engine/mod.ts";

/** The names of what a file system does wrong; it must be empty. */
export async function fileSystemFaults(files: FileSystem): Promise<string[]> {
  const faults: string[] = [];
  const bytes = (text: string) => new TextEncoder().encode(text);
  const text = async (path: string) => {
    const content = await files.read(path);
    return content ? new TextDecoder().decode(content) : null;
  };
  const is = (what: string, got: unknown, wanted: unknown) => {
    const [a, b] = [got, wanted].map((value) => JSON.stringify(value));
    if (a !== b) faults.push(`${what}: got ${a}, wanted ${b}`);
  };
  const list = async (folder: string) => (await files.list(folder))?.sort();

  is("an empty root", [await files.exists(""), await list("")], [true, []]);
  is("a missing file", [await text("a/b.txt"), await files.exists("a/b.txt"), await list("a")], [null, false, null]);
  await files.remove("a/b.txt");
  const given = bytes("one");
  await files.write("a/b.txt", given);
  given.fill(0);
  is("a written file", [await text("a/b.txt"), await files.exists("a/b.txt"), await files.exists("a")], [
    "one",
    true,
    true,
  ]);
  (await files.read("a/b.txt"))!.fill(0);
  is("a file whose reader changed the bytes", await text("a/b.txt"), "one");
  await files.write("a/b.txt", bytes("2"));
  is("a shorter file in its place", await text("a/b.txt"), "2");
  await files.append("a/b.txt", bytes("+3"));
  await files.append("a/new.txt", bytes("4"));
  await files.append("a/deep/er/x", bytes(""));
  is("appended files", [await text("a/b.txt"), await text("a/new.txt"), await text("a/deep/er/x")], ["2+3", "4", ""]);
  is("a folder", [await list("a"), await list("a/deep"), await list("")], [["b.txt", "deep", "new.txt"], ["er"], [
    "a",
  ]]);
  is("a folder read as a file", await text("a/deep"), null);
  is("a file listed as a folder", [await list("a/b.txt"), await text("a/b.txt/c")], [null, null]);
  await files.remove("a/deep");
  is("a removed folder", [await files.exists("a/deep/er/x"), await list("a")], [false, ["b.txt", "new.txt"]]);
  await files.write("ä b.txt", bytes("odd name"));
  const large = Uint8Array.from({ length: 300_001 }, (_, k) => k % 251);
  await files.write("large", large);
  is("a large file", (await files.read("large"))!.every((value, k) => value === k % 251), true);
  is("names", await list(""), ["a", "large", "ä b.txt"]);
  for (const name of ["a", "large", "ä b.txt"]) await files.remove(name);
  is("what is left", await list(""), []);
  return faults;
}
