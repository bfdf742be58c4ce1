/** Event files of TensorBoard, byte by byte. */
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { RunFolder, writeTensorBoard } from "../../../engine/train/mod.ts";
import { crc32c, eventFile } from "../../../engine/train/report/event_file.ts";
import { message } from "../../helpers/refuse.ts";

const folder = await mkdtemp(join(tmpdir(), "voxgrad-tensorboard-"));
test.after(() => rm(folder, { recursive: true }));

test("crc32c() has the check value of the catalog of checksums, and those of RFC 3720", () => {
  assert.is(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  assert.is(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.is(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assert.is(crc32c(new Uint8Array()), 0);
});

test("eventFile() writes the records of event.proto", () => {
  const bytes = eventFile([
    { step: 7, seconds: 0.5, values: [["loss", 2.25], ["dice/a", -0.1]] },
    { step: 300, seconds: 3.25, values: [["loss", 1e-3]] },
  ]);
  // By struct of Python and a checksum bit by bit; TensorBoard reads such files.
  const wanted = [
    "1800000000000000a37f4b2209000000000000e03f1a0d627261696e2e4576656e743a3266f7e1a8",
    "290000000000000037ff5f0009000000000000e03f10072a1c0a0b0a046c6f737315000010400a0d0a06646963652f6115cdccccbd68081765",
    "1b000000000000001a0d9e13090000000000000a4010ac022a0d0a0b0a046c6f7373156f12833a28bf9ca8",
  ].join("");
  assert.is(Buffer.from(bytes).toString("hex"), wanted);
});

test("writeTensorBoard() writes steps and epochs of a run and its folds, by names of classes", async () => {
  const step = { step: 1, loss: 2, rate: 0.5, dice: [0.25, null], seconds: 3, extra: { Parts: { dice: 1 } } };
  const epoch = { epoch: 1, step: 1, loss: 2, rate: 0.5, seconds: 9, dice: [0.75] };
  const run = new RunFolder(join(folder, "run"));
  await run.writeJson("config.json", { options: {}, classes: ["liver", "tumor"] });
  await run.write("fold_1/log.jsonl", `${JSON.stringify(step)}\n`);
  await run.write("fold_1/epochs.jsonl", `${JSON.stringify(epoch)}\n`);
  assert.is(await writeTensorBoard(run), `${run.path}/tensorboard`);
  assert.equal(await readdir(`${run.path}/tensorboard`), ["fold_1"]);
  const [name] = await readdir(`${run.path}/tensorboard/fold_1`);
  assert.match(name, /^events\.out\.tfevents\./);
  const written = await readFile(`${run.path}/tensorboard/fold_1/${name}`);
  assert.equal(
    [...written],
    [...eventFile([
      { step: 1, seconds: 3, values: [["loss", 2], ["rate", 0.5], ["dice/liver", 0.25], ["Parts/dice", 1]] },
      { step: 1, seconds: 3, values: [["epoch/loss", 2], ["epoch/rate", 0.5], ["epoch/dice/liver", 0.75]] },
    ])],
  );
  await writeFile(`${run.path}/fold_1/log.jsonl`, '{"step": 1}\n');
  assert.match(await message(writeTensorBoard(run)), /line 1 is no record of this log/);
  const empty = new RunFolder(join(folder, "empty"));
  assert.match(await message(writeTensorBoard(empty)), /it holds no run/);
  await empty.writeJson("config.json", { options: {} });
  assert.match(await message(writeTensorBoard(empty)), /it holds no log of a training/);
});

test.run();
