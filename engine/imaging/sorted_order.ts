/** The order of values: which comes first, second, ... */

// Shorter stretches are sorted by insertion.
const SHORT = 16;

/**
 * Positions of values from the lowest to the highest, by quicksort with the median of three. Equal values come in the
 * order in which NumPy's argsort leaves them, which decides what algorithms that take edges one by one make of ties.
 *
 * @param values finite numbers
 */
export function sortedOrder(values: Float64Array): Int32Array<ArrayBuffer> {
  const order = Int32Array.from({ length: values.length }, (_, k) => k);
  const swap = (a: number, b: number): void => {
    const kept = order[a];
    order[a] = order[b];
    order[b] = kept;
  };
  // Stretches that wait, with the depth that is left to them.
  const waiting: number[] = [];
  let [left, right] = [0, values.length - 1];
  let depth = 2 * Math.floor(Math.log2(Math.max(1, values.length)));
  for (;;) {
    while (right - left > SHORT && depth >= 0) {
      const middle = left + ((right - left) >> 1);
      if (values[order[middle]] < values[order[left]]) swap(middle, left);
      if (values[order[right]] < values[order[middle]]) swap(right, middle);
      if (values[order[middle]] < values[order[left]]) swap(middle, left);
      const pivot = values[order[middle]];
      swap(middle, right - 1);
      let [low, high] = [left, right - 1];
      for (;;) {
        do low++;
        while (values[order[low]] < pivot);
        do high--;
        while (pivot < values[order[high]]);
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
      // Values made to defeat the median of three.
      order.subarray(left, right + 1).sort((a, b) => values[a] - values[b]);
    } else {
      for (let k = left + 1; k <= right; k++) {
        const item = order[k];
        const value = values[item];
        let to = k;
        for (; to > left && value < values[order[to - 1]]; to--) order[to] = order[to - 1];
        order[to] = item;
      }
    }
    if (waiting.length === 0) return order;
    depth = waiting.pop()!;
    right = waiting.pop()!;
    left = waiting.pop()!;
  }
}
