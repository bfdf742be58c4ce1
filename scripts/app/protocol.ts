/** What the page and its worker say to each other. */

/** A task for the worker: a function of a module of `tasks`. */
export interface Call {
  readonly id: number;
  readonly room: string;
  readonly name: string;
  readonly input: unknown;
}

export type ToWorker = Call | { readonly stop: number };

export type FromWorker =
  | { readonly id: number; readonly event: unknown }
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: PlainError };

/** An error of the worker. */
export interface PlainError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Whether it is the answer to a stop. */
  readonly aborted: boolean;
}

/** How far a task is. */
export interface Progress {
  readonly done: number;
  readonly total: number;
  readonly text?: string;
}

/** What a task is given beside its input: when to stop, and where to tell how it goes. */
export interface Work<E = Progress> {
  readonly signal: AbortSignal;
  readonly tell: (event: E) => void;
}
