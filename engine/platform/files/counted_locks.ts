/** Locks that one process or page may take several times, since an experiment and its trainings share folders. */
export class CountedLocks {
  readonly #held = new Map<string, { count: number; readonly release: () => void }>();

  /**
   * Takes a lock.
   *
   * @param acquire takes it for the first time and returns the function that releases it, or undefined if it cannot
   * @returns the function that releases it, when it was called for each time that the lock was taken
   */
  async take(
    name: string,
    acquire: () => Promise<(() => void) | undefined>,
  ): Promise<(() => Promise<void>) | undefined> {
    let lock = this.#held.get(name);
    if (!lock) {
      const release = await acquire();
      if (!release) return undefined;
      lock = { count: 0, release };
      this.#held.set(name, lock);
    }
    const taken = lock;
    taken.count++;
    let released = false;
    return async () => {
      if (released) return;
      released = true;
      if (--taken.count > 0) return;
      this.#held.delete(name);
      taken.release();
    };
  }
}
