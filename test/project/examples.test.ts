/** The examples of the sources run: all that need neither files nor another device. Deno type-checks the others too. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { readdirSync } from "node:fs";
import { blocksOf, ROOT, runCode } from "../helpers/examples.ts";
import { closeDevice } from "../../engine/mod.ts";

const files = ["engine", "models"].flatMap((folder) =>
  readdirSync(`${ROOT}/${folder}`, { recursive: true }).map((name) => `${folder}/${name}`)
).filter((name) => name.endsWith(".ts"));

/** Names of files that a reader has and a test has not, devices, and what takes long. */
const ELSEWHERE =
  /"(data|runs|imagesTs|labelsTr|scans?|nnUNet_\w+)\b|\.(nii|nii\.gz|json|img|onnx|safetensors)"|openDevice|measureRoofs|tune\(/;

let count = 0;
for (const { file, line, language, code } of files.flatMap(blocksOf)) {
  if (language !== "ts" || !code.includes('from "voxgrad') || ELSEWHERE.test(code)) continue;
  count++;
  test(`${file}:${line} example runs`, async () => void await runCode(code));
}

test("examples are found", () => assert.ok(count >= 100, `${count}`));

test.after(() => closeDevice());
test.run();
