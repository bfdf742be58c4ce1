/** Sorts keys and reorders items with them. */

// Shorter ranges use insertion sort.
const SHORT = 16;

/**
 * Sorts keys from the lowest to the highest, and items with them, in place, by quicksort with the median of three.
 * Equal keys come in the order of NumPy's argsort, which decides ties in algorithms that process edges one by one.
 *
 * @param keys finite numbers
 */
export function sortTogether(keys: Float64Array, items: Int32Array): void {
  const swap = (a: number, b: number): void => {
    const [key, item] = [keys[a], items[a]];
    keys[a] = keys[b];
    items[a] = items[b];
    keys[b] = key;
    items[b] = item;
  };
  // Pending ranges, with their remaining depth.
  const waiting: number[] = [];
  let [left, right] = [0, keys.length - 1];
  let depth = 2 * Math.floor(Math.log2(Math.max(1, keys.length)));
  for (;;) {
    while (right - left > SHORT && depth >= 0) {
      const middle = left + ((right - left) >> 1);
      if (keys[middle] < keys[left]) swap(middle, left);
      if (keys[right] < keys[middle]) swap(right, middle);
      if (keys[middle] < keys[left]) swap(middle, left);
      const pivot = keys[middle];
      swap(middle, right - 1);
      let [low, high] = [left, right - 1];
      for (;;) {
        do low++; while (keys[low] < pivot);
        do high--; while (pivot < keys[high]);
        if (low >= high) break;
        swap(low, high);
      }
      swap(low, right - 1);
      depth--;
      if (low - left < right - low) {
        waiting.push(low + 1, right, depth);
        right = low - 1;
      } else {
        waiting.push(left, low - 1, depth);
        left = low + 1;
      }
    }
    if (right - left > SHORT) {
      // Fallback for inputs that defeat the median of three.
      const [some, their] = [keys.slice(left, right + 1), items.slice(left, right + 1)];
      const order = Uint32Array.from(some, (_, k) => k).sort((a, b) => some[a] - some[b]);
      order.forEach((from, k) => {
        keys[left + k] = some[from];
        items[left + k] = their[from];
      });
    } else {
      for (let k = left + 1; k <= right; k++) {
        const [key, item] = [keys[k], items[k]];
        let to = k;
        for (; to > left && key < keys[to - 1]; to--) {
          keys[to] = keys[to - 1];
          items[to] = items[to - 1];
        }
        keys[to] = key;
        items[to] = item;
      }
    }
    if (waiting.length === 0) return;
    depth = waiting.pop()!;
    right = waiting.pop()!;
    left = waiting.pop()!;
  }
}
