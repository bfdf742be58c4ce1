import { test } from "uvu";
import * as assert from "uvu/assert";
import { colabSchedule } from "../../../models/colab/schedule.ts";

const options = { context: "colab", contexts: 2, generatorRate: 1e-3, warmup: 0.3, period: 4 } as const;
const kinds = (own: Partial<Parameters<typeof colabSchedule>[0]>, steps = 10): string[] => {
  const { kind } = colabSchedule({ ...options, ...own }, { rate: 1, steps });
  return Array.from({ length: steps }, (_, k) => kind(k + 1)[0]);
};

test("colabSchedule() takes the warm-up first, then an update of the generator every period", () => {
  assert.is(kinds({}).join(""), "wwwmpppmpp");
  assert.is(kinds({ warmup: 0, period: 3 }).join(""), "ppmppmppmp");
  // An update that falls into the warm-up is left out.
  assert.is(kinds({ warmup: 0.4 }).join(""), "wwwwpppmpp");
});

test("colabSchedule() never updates a generator that is not there, or stays as it starts", () => {
  for (const own of [{ context: "dilated" }, { contexts: 1 }, { generatorRate: 0 }] as const) {
    assert.is(kinds({ ...own, warmup: 0 }).join(""), "pppppppppp");
  }
});

test("colabSchedule() says whether updates of the generator are still to begin", () => {
  const { metaAfter } = colabSchedule(options, { rate: 1, steps: 10 });
  // At step 1 of a new run, at 6 of a resumed one; step 8 is the last update, and 4 is one itself.
  assert.equal([1, 4, 6, 8, 9].map(metaAfter), [true, false, true, false, false]);
  assert.not.ok(colabSchedule({ ...options, period: 20 }, { rate: 1, steps: 10 }).metaAfter(1));
  assert.not.ok(colabSchedule({ ...options, warmup: 1 }, { rate: 1, steps: 10 }).metaAfter(1));
});

test("colabSchedule() lowers both rates alike, by nnU-Net's polynomial", () => {
  const { rate, generatorRate } = colabSchedule(options, { rate: 2e-2, steps: 10 });
  for (const k of [1, 5, 10]) {
    const share = (1 - (k - 1) / 10) ** 0.9;
    assert.ok(Math.abs(rate(k) - 2e-2 * share) < 1e-12);
    assert.ok(Math.abs(generatorRate(k) - 1e-3 * share) < 1e-12);
  }
});

test.run();
