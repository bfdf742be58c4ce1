/** Labels that can be edited, taken back and done again. */

/** First and last voxel along x, y, z that something touched. */
export type Box = readonly [from: readonly number[], to: readonly number[]];

interface Step {
  readonly at: Uint32Array;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

/** Memory that may be kept to take steps back, in bytes; the oldest steps go first. */
const KEPT = 256e6;
/** Voxels that are copied at once. */
const COPIED = 2 ** 23;
const bytesOf = ({ at }: Step): number => 6 * at.length;

/** Where two arrays differ, four values at a time, for most are alike. */
function differing(a: Uint8Array, b: Uint8Array): number[] {
  const found: number[] = [];
  const whole = (a.byteOffset | b.byteOffset) % 4 === 0 ? Math.floor(a.length / 4) : 0;
  const [wordsOfA, wordsOfB] = [a, b].map((each) => new Uint32Array(each.buffer, whole ? each.byteOffset : 0, whole));
  for (let word = 0; word < whole; word++) {
    if (wordsOfA[word] === wordsOfB[word]) continue;
    for (let i = 4 * word; i < 4 * word + 4; i++) if (a[i] !== b[i]) found.push(i);
  }
  for (let i = 4 * whole; i < a.length; i++) if (a[i] !== b[i]) found.push(i);
  return found;
}

/** Labels of a grid [X, Y, Z], x fastest. Changes are collected until `commit` makes a step of them. */
export class Edits {
  readonly labels: Uint8Array<ArrayBuffer>;
  readonly shape: readonly [number, number, number];
  /** Number of the latest change, to tell whether something was saved since. */
  version = 0;
  #at: number[] = [];
  #before: number[] = [];
  #told = 0;
  #done: Step[] = [];
  #undone: Step[] = [];

  constructor(labels: Uint8Array<ArrayBuffer>, shape: readonly [number, number, number]) {
    this.labels = labels;
    this.shape = shape;
  }

  /** A copy of the labels, made some at a time, since all of a large scan at once would hold up the page. */
  async copy(): Promise<Uint8Array<ArrayBuffer>> {
    const { labels } = this;
    const copy = new Uint8Array(labels.length);
    for (let from = 0; from < labels.length; from += COPIED) {
      if (from > 0) await new Promise((resolve) => setTimeout(resolve));
      copy.set(labels.subarray(from, from + COPIED), from);
    }
    return copy;
  }

  get canUndo(): boolean {
    return this.#done.length > 0;
  }

  get canRedo(): boolean {
    return this.#undone.length > 0;
  }

  /** Labels one voxel, by its index. */
  set(index: number, value: number): void {
    const before = this.labels[index];
    if (before === value) return;
    this.#at.push(index);
    this.#before.push(before);
    this.labels[index] = value;
  }

  /** The box around the changes since it was last asked for, or since the last step. */
  fresh(): Box | undefined {
    const at = this.#at.slice(this.#told);
    this.#told = this.#at.length;
    return at.length > 0 ? this.boxOf(at) : undefined;
  }

  /** Labels all voxels at once, as a step. */
  replace(next: Uint8Array): Box | undefined {
    this.commit();
    const places = differing(this.labels, next);
    const at = Uint32Array.from(places);
    const before = Uint8Array.from(at, (i) => this.labels[i]);
    const after = Uint8Array.from(at, (i) => next[i]);
    this.labels.set(next);
    return this.#push({ at, before, after });
  }

  /**
   * Makes a step of the changes since the last one.
   *
   * @returns what it touched; undefined if nothing changed
   */
  commit(): Box | undefined {
    // A voxel that was touched twice has first the value from before; taken back from the end, that one is the last.
    const at = Uint32Array.from(this.#at);
    const before = Uint8Array.from(this.#before);
    [this.#at, this.#before, this.#told] = [[], [], 0];
    return this.#push({ at, before, after: Uint8Array.from(at, (i) => this.labels[i]) });
  }

  #push(step: Step): Box | undefined {
    if (step.at.length === 0) return undefined;
    this.#done.push(step);
    this.#undone = [];
    this.version++;
    let total = this.#done.reduce((sum, each) => sum + bytesOf(each), 0);
    while (total > KEPT && this.#done.length > 1) total -= bytesOf(this.#done.shift()!);
    return this.boxOf(step.at);
  }

  /** Takes the last step back. */
  undo(): Box | undefined {
    const step = this.#done.pop();
    if (!step) return undefined;
    for (let k = step.at.length - 1; k >= 0; k--) this.labels[step.at[k]] = step.before[k];
    this.#undone.push(step);
    this.version++;
    return this.boxOf(step.at);
  }

  /** Does the step again that was taken back last. */
  redo(): Box | undefined {
    const step = this.#undone.pop();
    if (!step) return undefined;
    for (let k = 0; k < step.at.length; k++) this.labels[step.at[k]] = step.after[k];
    this.#done.push(step);
    this.version++;
    return this.boxOf(step.at);
  }

  /** The box around voxels. */
  boxOf(at: ArrayLike<number>): Box {
    const [X, Y] = this.shape;
    const [from, to] = [[Infinity, Infinity, Infinity], [-1, -1, -1]];
    for (let k = 0; k < at.length; k++) {
      const place = [at[k] % X, Math.floor(at[k] / X) % Y, Math.floor(at[k] / (X * Y))];
      for (let axis = 0; axis < 3; axis++) {
        if (place[axis] < from[axis]) from[axis] = place[axis];
        if (place[axis] > to[axis]) to[axis] = place[axis];
      }
    }
    return [from, to];
  }
}
