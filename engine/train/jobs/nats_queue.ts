/**
 * A queue of NATS JetStream: the states of jobs in a key-value bucket, their ids in a work queue, files in an object
 * store. A worker holds a job as long as it reports; the id of one that died is delivered again.
 */
import { openNats } from "../run/nats.ts";
import { checkedState, type Job, type JobState } from "./job.ts";
import { type Claim, isOpen, type JobChange, type JobQueue, MOST_ATTEMPTS, sleep } from "./queue.ts";

const [NAME, SUBJECT] = ["voxgrad_jobs", "voxgrad.jobs"];
/** Milliseconds without a report after which a worker counts as dead; and until a job that does not fit comes again. */
const SILENCE = 15_000;
const LATER = 2_000;
/** Milliseconds for which calls wait for a server that is away. */
const PATIENCE = 600_000;

/** Repeats a call while the server is away; other errors are thrown. */
async function patiently<T>(call: () => Promise<T>): Promise<T> {
  const end = performance.now() + PATIENCE;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const { name, message } = error as Error;
      const away = /timeout|no ?responders|disconnect|unavailable|no leader|closed|stalled/i.test(`${name} ${message}`);
      if (!away || performance.now() > end) throw error;
      await sleep(500);
    }
  }
}

/** Whether an update lost against another one. */
const isConflict = (error: unknown): boolean => /wrong last sequence/i.test((error as Error).message);

const encode = (state: JobState): Uint8Array => new TextEncoder().encode(JSON.stringify(state));

/** @param server as nats://HOST:4222 */
export async function natsQueue(server: string, token?: string): Promise<JobQueue> {
  const { connection, jetstream, kv: kvm, objects: objm } = await openNats(server, token);
  const { AckPolicy, RetentionPolicy, StorageType, DiscardPolicy } = jetstream;
  const js = jetstream.jetstream(connection, { timeout: 5_000 });
  const manager = await patiently(() => jetstream.jetstreamManager(connection, { timeout: 5_000 }));
  const stream = {
    name: NAME,
    subjects: [SUBJECT],
    retention: RetentionPolicy.Workqueue,
    storage: StorageType.File,
    discard: DiscardPolicy.New,
  };
  await patiently(() => manager.streams.info(NAME).catch(() => manager.streams.add(stream)));
  const durable = {
    durable_name: NAME,
    ack_policy: AckPolicy.Explicit,
    ack_wait: SILENCE * 1e6,
    max_ack_pending: 10_000,
  };
  await patiently(() => manager.consumers.info(NAME, NAME).catch(() => manager.consumers.add(NAME, durable)));
  const kv = await patiently(() => new kvm.Kvm(js).create(NAME));
  const files = await patiently(() => new objm.Objm(js).create(NAME));
  const consumer = await patiently(() => js.consumers.get(NAME, NAME));

  const read = async (id: string): Promise<{ state: JobState; revision: number } | undefined> => {
    const entry = await patiently(() => kv.get(id));
    return entry && entry.operation === "PUT"
      ? { state: checkedState(entry.json(), id), revision: entry.revision }
      : undefined;
  };
  const publish = (id: string, msgID: string): Promise<unknown> => patiently(() => js.publish(SUBJECT, id, { msgID }));
  const list = async (): Promise<JobState[]> => {
    const ids = await patiently(async () => {
      const found: string[] = [];
      for await (const key of await kv.keys()) found.push(key);
      return found;
    });
    const states = await Promise.all(ids.map(read));
    return states.flatMap((each) => each ? [each.state] : []).sort((a, b) => a.submitted - b.submitted);
  };

  interface Message {
    working(): void;
    ack(): void;
    nak(milliseconds?: number): void;
  }
  const claim = (taken: JobState, from: number, message: Message): Claim => {
    let [state, revision, lost] = [taken, from, false];
    let last: Promise<unknown> = Promise.resolve();
    /** Writes the state unless another one has written since; one write after the other. */
    const put = (change: JobChange): Promise<boolean> => {
      const next = last.then(async () => {
        if (lost) return false;
        state = { ...state, ...change, updated: Date.now() };
        try {
          revision = await patiently(() => kv.update(state.job.id, encode(state), revision));
        } catch (error) {
          if (!isConflict(error)) throw error;
          // A write whose answer was lost while the server was away is one of ours.
          const there = await read(state.job.id);
          const own = there?.state.worker === state.worker && there?.state.attempts === state.attempts;
          lost = !there || !own || there.state.state === "cancelled";
          if (lost) return false;
          revision = await kv.update(state.job.id, encode(state), there!.revision);
        }
        message.working();
        return true;
      });
      last = next.catch(() => undefined);
      return next;
    };
    return {
      state,
      report: put,
      async release(change) {
        const kept = await put(change);
        if (kept && change.state === "waiting") message.nak(0);
        else if (kept) message.ack();
        await connection.flush().catch(() => undefined);
      },
    };
  };

  return {
    place: server,
    list,
    async submit(jobs: readonly Job[]) {
      let added = 0;
      for (const job of jobs) {
        const state: JobState = { job, state: "waiting", attempts: 0, submitted: Date.now() + added };
        try {
          await patiently(() => kv.create(job.id, encode(state)));
          added++;
        } catch (error) {
          if (!isConflict(error)) throw error;
          // Whoever submitted it may have ended before its id was in the queue.
          const there = await read(job.id);
          if (there?.state.state !== "waiting" || there.state.attempts > 0) continue;
        }
        await publish(job.id, job.id);
      }
      return added;
    },
    async take(worker, fits) {
      const message = await consumer.next({ expires: 1_000 }).catch(() => undefined);
      if (!message) {
        if (connection.isClosed()) throw new Error("the connection is closed");
        await sleep(200);
        return undefined;
      }
      const there = await read(message.string());
      if (!there || !isOpen(there.state)) {
        message.ack();
        return undefined;
      }
      const { state, revision } = there;
      // One that still reports was delivered twice: published again, or late while the server was away.
      const alive = state.state === "running" && Date.now() - (state.updated ?? 0) < SILENCE;
      if (alive || !(await fits(state.job.needs, state.job))) {
        message.nak(LATER);
        return undefined;
      }
      const attempts = state.attempts + 1;
      const { error: _, progress: __, ...rest } = state;
      const taken: JobState = { ...rest, state: "running", attempts, worker, started: Date.now(), updated: Date.now() };
      try {
        const own = claim(taken, await patiently(() => kv.update(state.job.id, encode(taken), revision)), message);
        if (attempts <= MOST_ATTEMPTS) return own;
        await own.release({ state: "failed", error: `${attempts - 1} workers ended while they ran it` });
      } catch (error) {
        if (!isConflict(error)) throw error;
        message.nak(LATER);
      }
      return undefined;
    },
    async change(ids, to) {
      const changed: JobState[] = [];
      for (const id of ids) {
        for (let tries = 0; tries < 5; tries++) {
          const there = await read(id);
          if (!there || (to === "cancelled" ? !isOpen(there.state) : isOpen(there.state))) break;
          const { error: _, results: __, ...rest } = there.state;
          const next: JobState = { ...rest, state: to, ...(to === "waiting" && { attempts: 0 }) };
          try {
            await patiently(() => kv.update(id, encode(next), there.revision));
          } catch (error) {
            if (!isConflict(error)) throw error;
            continue;
          }
          if (to === "waiting") await publish(id, `${id} ${Date.now()}`);
          changed.push(there.state);
          break;
        }
      }
      return changed;
    },
    store: {
      async put(digest, bytes) {
        if (await patiently(() => files.info(digest))) return;
        await patiently(() => files.putBlob({ name: digest }, bytes));
      },
      async get(digest) {
        const bytes = await patiently(() => files.getBlob(digest));
        if (!bytes) throw new Error(`${server}: its object store has no file ${digest}; submit the job again`);
        return bytes;
      },
    },
    close: () => connection.close(),
  };
}
