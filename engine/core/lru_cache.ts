/** A map of bounded size that evicts the least recently used entries. */

export interface LruCacheOptions<K, V> {
  /** Share of the capacity that a value takes; default: 1. */
  sizeOf?: (value: V) => number;
  /** Called with each entry that is evicted. */
  onDrop?: (value: V, key: K) => void;
}

/**
 * Keeps the most recently used values whose sizes add up to at most `capacity`. A value larger than the capacity is
 * not kept.
 *
 * @example
 * ```ts
 * const cache = new LruCache<string, Uint8Array>(2 ** 20, { sizeOf: (bytes) => bytes.length });
 * cache.set("a", new Uint8Array(1000));
 * cache.get("a")?.length; // 1000
 * ```
 */
export class LruCache<K, V> {
  readonly #entries = new Map<K, V>();
  readonly #capacity: number;
  readonly #sizeOf: (value: V) => number;
  readonly #onDrop: (value: V, key: K) => void;
  #total = 0;

  constructor(capacity: number, { sizeOf = () => 1, onDrop = () => {} }: LruCacheOptions<K, V> = {}) {
    this.#capacity = capacity;
    this.#sizeOf = sizeOf;
    this.#onDrop = onDrop;
  }

  /** The number of entries. */
  get count(): number {
    return this.#entries.size;
  }

  /** The sum of the sizes of all values. */
  get total(): number {
    return this.#total;
  }

  /** The value of a key, which becomes the most recently used. */
  get(key: K): V | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  /** The value of a key, without marking it as used. */
  peek(key: K): V | undefined {
    return this.#entries.get(key);
  }

  /** Stores a value as the most recently used and evicts the least recently used entries that no longer fit. */
  set(key: K, value: V): void {
    this.delete(key);
    if (this.#sizeOf(value) > this.#capacity) return;
    this.#entries.set(key, value);
    this.#total += this.#sizeOf(value);
    for (const [oldest, dropped] of this.#entries) {
      if (this.#total <= this.#capacity) break;
      this.delete(oldest);
      this.#onDrop(dropped, oldest);
    }
  }

  /** Removes a key without calling `onDrop`. */
  delete(key: K): void {
    const value = this.#entries.get(key);
    if (value === undefined) return;
    this.#entries.delete(key);
    this.#total -= this.#sizeOf(value);
  }

  /** Removes all entries without calling `onDrop`. */
  clear(): void {
    this.#entries.clear();
    this.#total = 0;
  }

  /** The values, least recently used first. */
  values(): IterableIterator<V> {
    return this.#entries.values();
  }
}
