/** A 64-bit hash of content, to detect changed files; not cryptographic. */
export class ContentHash {
  #a = 0x9e3779b9 | 0;
  #b = 0x85ebca6b | 0;

  #word(word: number): void {
    // Two multiplicative hashes with different rotations; each step is a bijection of the state.
    this.#a = Math.imul(this.#a ^ word, 0x01000193);
    this.#a = (this.#a << 13) | (this.#a >>> 19);
    this.#b = Math.imul(this.#b ^ Math.imul(word, 0xcc9e2d51), 0x1b873593);
    this.#b = (this.#b << 17) | (this.#b >>> 15);
  }

  /** Hashes bytes and their number. */
  bytes(data: Uint8Array): void {
    const whole = data.length - (data.length % 4);
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    for (let i = 0; i < whole; i += 4) this.#word(view.getInt32(i, true));
    let rest = 0;
    for (let i = data.length - 1; i >= whole; i--) rest = (rest << 8) | data[i];
    this.#word(rest);
    this.#word(data.length | 0);
  }

  text(text: string): void {
    this.bytes(new TextEncoder().encode(text));
  }

  /** The hash of everything so far, 16 hexadecimal digits. */
  digest(): string {
    const finish = (h: number, other: number): number => {
      let x = h ^ Math.imul(other, 0x9e3779b1);
      x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
      x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
      return (x ^ (x >>> 16)) >>> 0;
    };
    const part = (n: number): string => n.toString(16).padStart(8, "0");
    return part(finish(this.#a, this.#b)) + part(finish(this.#b, this.#a));
  }
}
