/** What a queue of jobs does, whoever keeps it. */
import type { Job, JobNeeds, JobState } from "./job.ts";

/** A change of a job's state by its worker. */
export type JobChange = Partial<Omit<JobState, "job" | "submitted">>;

/** A job that a worker has taken. */
export interface Claim {
  readonly state: JobState;
  /** Says that the worker lives, and what changed; false once the job is cancelled, or another worker's. */
  report(change: JobChange): Promise<boolean>;
  /** Ends the claim: done, failed, or waiting for another worker. */
  release(change: JobChange & Pick<JobState, "state">): Promise<void>;
}

export interface JobQueue {
  /** For people: a folder, or a server. */
  readonly place: string;
  /** Adds the jobs that are not there yet, and returns their number. */
  submit(jobs: readonly Job[]): Promise<number>;
  /** All jobs, in the order of their submission. */
  list(): Promise<JobState[]>;
  /** A job that waits and that `fits`, or whose worker has died; undefined if there is none now. */
  take(worker: string, fits: (needs: JobNeeds, job: Job) => boolean | Promise<boolean>): Promise<Claim | undefined>;
  /** Cancels jobs, or lets those that failed or were cancelled wait again; returns those that changed. */
  change(ids: readonly string[], to: "cancelled" | "waiting"): Promise<JobState[]>;
  /** Puts a file into the object store, and gets one; undefined where workers share a folder. */
  readonly store?: {
    put(digest: string, bytes: Uint8Array): Promise<void>;
    get(digest: string): Promise<Uint8Array>;
  };
  close(): Promise<void>;
}

/** How often a job whose workers die is begun before it counts as failed. */
export const MOST_ATTEMPTS = 20;

export const isOpen = ({ state }: JobState): boolean => state === "waiting" || state === "running";

export const sleep = (milliseconds: number): Promise<void> =>
  new Promise<void>((resolve) => void setTimeout(resolve, milliseconds));
