/** The cache that drops what was not used for longest. */
import { test } from "uvu";
import * as assert from "uvu/assert";
import { LruCache } from "../../engine/core/lru_cache.ts";

test("LruCache.set() drops the least recently used value beyond its capacity, and says so", () => {
  const dropped: string[] = [];
  const cache = new LruCache<string, number>(2, { onDrop: (value, key) => dropped.push(`${key}${value}`) });
  cache.set("a", 1);
  cache.set("b", 2);
  assert.is(cache.get("a"), 1);
  cache.set("c", 3);
  assert.equal(dropped, ["b2"], "a was used after b");
  assert.is(cache.peek("a"), 1);
  cache.set("d", 4);
  assert.equal(dropped, ["b2", "a1"], "peek is no use");
  assert.equal([...cache.values()], [3, 4]);
  cache.set("c", 5);
  cache.delete("d");
  cache.clear();
  assert.equal(dropped, ["b2", "a1"], "replacing, deleting and clearing drop nothing");
  assert.is(cache.count, 0);
});

test("LruCache.set() counts sizes and does not keep a value larger than its capacity", () => {
  const cache = new LruCache<string, string>(5, { sizeOf: (text) => text.length });
  cache.set("long", "123456");
  assert.is(cache.get("long"), undefined);
  cache.set("x", "123");
  cache.set("y", "12");
  assert.is(cache.total, 5);
  cache.set("z", "1");
  assert.equal([...cache.values()], ["12", "1"]);
  assert.is(cache.total, 3);
});

test.run();
