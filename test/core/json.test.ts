// deno-lint-ignore-file no-explicit-any
// JSON that nobody vouches for, against JSON.parse; and messages, whatever goes into them.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { bounded, listed, show, VoxgradError } from "../../engine/core/errors.ts";
import { JsonError, parseJson, showJson } from "../../engine/core/json.ts";
import { PlatformError } from "../../engine/platform/types.ts";
import { Prng } from "../../engine/core/prng.ts";

const refused = (source: string | Uint8Array, problem: RegExp, options = {}): void => {
  assert.throws(() => parseJson(source, "a.json", options), (error: Error) => {
    assert.instance(error, JsonError);
    assert.match(error.message, /^a\.json: /);
    assert.match(error.message, problem);
    assert.ok(error.message.length <= 2000);
    return true;
  });
};

test("parseJson() agrees with JSON.parse on texts that are changed at random", () => {
  const seeds = [
    '{"a": [1, -2.5e-3, true, false, null, "x\\u00e9\\n\\"y\\\\"], "b": {"c": {}, "d": []}, "": 0}',
    '[0, -0, 1E5, 1e+5, 123456789012345678901234567890, "\\ud83d\\ude00", "grün"]',
    ' "text" ',
    "12",
    "{}",
    "\t[\r\n]",
  ];
  const signs = [...'{}[],:"\\ \n0123456789.eE+-tfnulu\u0000'];
  const random = new Prng(7);
  let [read, wrong] = [0, 0];
  for (let round = 0; round < 20_000; round++) {
    let text = seeds[round % seeds.length];
    for (let edits = random.integer(3); edits > 0; edits--) {
      const at = random.integer(text.length + 1);
      text = text.slice(0, at) + (random.integer(2) ? signs[random.integer(signs.length)] : "") +
        text.slice(at + random.integer(2));
    }
    let wanted: unknown;
    let fits = true;
    try {
      wanted = JSON.parse(text);
    } catch {
      fits = false;
    }
    try {
      const got = parseJson(text, "a.json");
      assert.ok(fits, `reads ${JSON.stringify(text)}`);
      assert.equal(got, wanted, text);
      read++;
    } catch (error) {
      assert.instance(error, JsonError, `${JSON.stringify(text)}: ${(error as Error).stack}`);
      assert.ok(
        !fits || /twice|beyond/.test((error as Error).message),
        `refuses ${JSON.stringify(text)}: ${(error as Error).message}`,
      );
      wrong++;
    }
  }
  assert.ok(read > 4000 && wrong > 4000, `${read} read, ${wrong} refused`);
});

test("parseJson() says where the fault is", () => {
  refused('{\n  "a": 1,\n  "b" 2\n}', /there is 2 where a colon belongs, in line 3, column 7\. Correct it/);
  refused('{"a": [1, 2', /the text ends where a comma or \] belongs, in line 1, column 12/);
  refused("", /the text ends where a value belongs/);
  refused('{"a": NaN}', /there is NaN} where a value belongs/);
  refused('{"a": "x', /a text has no end, in line 1, column 7/);
  refused(Uint8Array.of(0x22, 0xff, 0x22), /no text in UTF-8/);
});

test("parseJson() refuses what JSON.parse takes without a word", () => {
  refused('{"a": 1, "\\u0061": 2}', /the key "a" twice, in line 1, column 10/);
  refused('{"__proto__": {"polluted": true}}', /the key "__proto__"/);
  refused('{"\\u005f_proto__": 1}', /the key "__proto__"/);
  refused("[1e999]", /beyond 1\.8e308/);
  assert.is((Object.prototype as any).polluted, undefined);
  const json = parseJson('\uFEFF{"constructor": 1, "toString": 2}', "a.json") as object;
  assert.equal(Object.entries(json), [["constructor", 1], ["toString", 2]]);
});

test("parseJson() bounds depth and size, and stays linear", () => {
  refused("[".repeat(1e5), /more than 64 deep/);
  refused('{"a":'.repeat(1e5), /more than 64 deep/);
  assert.equal(
    parseJson(`${"[".repeat(64)}${"]".repeat(64)}`, "a.json"),
    JSON.parse(`${"[".repeat(64)}${"]".repeat(64)}`),
  );
  refused(" ".repeat(2 ** 25 + 1), /it is 32\.0 MiB long/);
  refused("[[1]]", /more than 1 deep/, { deepest: 1 });
  refused("[1, 2]", /more than the .* MiB/, { most: 5 });
  const long = 2 ** 22;
  assert.is((parseJson(`"${"\\n".repeat(long)}"`, "a.json") as string).length, long);
  assert.is(parseJson(`${" ".repeat(2 ** 24)}1`, "a.json"), 1);
  assert.is(parseJson(`0.${"0".repeat(2 ** 24)}`, "a.json"), 0);
});

test("VoxgradError() keeps messages below 2 kB and on their lines", () => {
  const huge = "x".repeat(1e8);
  for (const text of [huge, "漢".repeat(5000), "\u001b[31m".repeat(2000), "\ud800".repeat(9999), "😀".repeat(3000)]) {
    const { message } = new VoxgradError(`file: it holds ${text}. Write it anew`);
    assert.ok(new TextEncoder().encode(message).length <= 2048);
    assert.match(message, /^file: it holds /);
    assert.match(message, /Write it anew$/);
  }
  assert.is(new VoxgradError("a\u001b[2Jb\r\nc\u202ed").message, "a\\u001b[2Jb\\u000d\nc\\u202ed");
  assert.is(bounded("grün 漢字 😀"), "grün 漢字 😀");
  const cause = new Error("why");
  assert.is(new VoxgradError("x", { cause }).cause, cause);
});

test("show() is short, however long, wide or deep a value is", () => {
  let deep: unknown = [];
  for (let k = 0; k < 1e5; k++) deep = [deep];
  assert.is(show(deep), "[[[[...]]]]");
  assert.ok(show("x".repeat(1e8)).length < 300);
  assert.ok(show(Array.from({ length: 100 }, () => Array(100).fill(Array(100).fill("abc")))).length <= 500);
  assert.ok(show(Object.fromEntries(Array.from({ length: 1e4 }, (_, k) => [`key ${k}`, k]))).length <= 500);
  assert.is(show(["a\nb", { "\u001b": 1 }]), '["a\\u000ab", { \\u001b }]');
  const cyclic: unknown[] = [];
  cyclic.push(cyclic);
  assert.is(show(cyclic), "[[[[...]]]]");
});

test("showJson() is short, however long, wide or deep a value is", () => {
  let deep: unknown = 1;
  for (let k = 0; k < 1e5; k++) deep = k % 2 ? [deep] : { a: deep };
  assert.is(showJson(deep), '[{"a":[{...}]}]');
  assert.is(showJson({ any: ["spleen", 2, null] }), '{"any":["spleen",2,null]}');
  assert.is(showJson(Array(1000).fill(7)), "[7,7,7,7,7,7,7,7,...]");
});

test("PlatformError() keeps a path of any length and content readable", () => {
  const { message } = new PlatformError(
    "no-such-file",
    `Cannot read ${"a/".repeat(3000)}\u001b[2J: there is no such file`,
  );
  assert.ok(message.length < 700);
  assert.match(message, /^Cannot read a.*\\u001b\[2J: there is no such file$/);
});

test("listed() cuts a list with its number", () => {
  assert.is(listed(["a", "b"]), "a, b");
  assert.is(listed(["a", "b", "c"], 2), "a, b, ... (3 in all)");
  assert.is(listed(["a\u0007"]), "a\\u0007");
});

test.run();
