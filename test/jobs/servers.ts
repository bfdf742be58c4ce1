/** Servers of NATS and Slurm on free ports of this machine, in temporary folders, and commands of voxgrad beside them. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const cli = fileURLToPath(new URL("../../engine/platform/cli/voxgrad.mjs", import.meta.url));

/** A training of seconds, which runs on a device of the least of work. */
export const tiny = (steps = 2): string[] => [
  ...["--phantoms", "5", "--steps", String(steps), "--epoch", String(Math.ceil(steps / 2)), "--validation", "0"],
  ...["--workers", "0", "--augment", "none", "--checkpoint", "0"],
];

export const sleep = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

export function has(program: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${program}`]);
    return true;
  } catch {
    return false;
  }
}

/** Programs that are missing, with the line that the runner of the tests shows. */
export function skips(programs: readonly string[], fix: string): boolean {
  const missing = programs.filter((program) => !has(program));
  if (missing.length > 0) console.log(`Skipped: there is no ${missing.join(", ")} (${fix})`);
  return missing.length > 0;
}

export const scratch = (name: string): Promise<string> => mkdtemp(join(tmpdir(), `voxgrad-${name}-`));

export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(servers.map((server) => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** A process that ends with the test. */
export function start(program: string, words: readonly string[], options: { cwd?: string; env?: object } = {}) {
  const child = spawn(program, words, {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const state = { child, output: "", ended: Promise.resolve<number | null>(null) };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (state.output += data));
  state.ended = new Promise((resolve) => child.on("close", resolve));
  return state;
}

export type Started = ReturnType<typeof start>;

/** A command of voxgrad. */
export const voxgrad = (folder: string, words: readonly string[], env: object = {}): Started =>
  start(process.execPath, [cli, ...words], { cwd: folder, env });

/** Its output once it has ended; throws for an exit code other than 0. */
export async function said(folder: string, words: readonly string[], env: object = {}): Promise<string> {
  const command = voxgrad(folder, words, env);
  const code = await command.ended;
  if (code !== 0) throw new Error(`voxgrad ${words.join(" ")}: exit code ${code}\n${command.output}`);
  return command.output;
}

export const kill = (child: ChildProcess, signal: NodeJS.Signals = "SIGKILL"): void => void child.kill(signal);

/** A server of NATS with JetStream, which may be killed and started again; `extra` are lines of its configuration. */
export async function natsServer(extra: (ports: number[]) => string = () => "") {
  const folder = await scratch("nats");
  const ports = await freePorts(2);
  const file = join(folder, "nats.conf");
  await writeFile(
    file,
    `listen: 127.0.0.1:${ports[0]}\njetstream { store_dir: "${folder}/store" }\n${extra(ports)}\n`,
  );
  let server: Started | undefined;
  const begin = async (): Promise<void> => {
    server = start("nats-server", ["-c", file]);
    for (let tries = 0; !/Server is ready/.test(server.output); tries++) {
      if (tries > 100) throw new Error(`nats-server does not start:\n${server.output}`);
      await sleep(100);
    }
  };
  const end = async (): Promise<void> => {
    if (!server) return;
    kill(server.child);
    await server.ended;
    server = undefined;
  };
  await begin();
  return {
    url: `nats://127.0.0.1:${ports[0]}`,
    page: `ws://127.0.0.1:${ports[1]}`,
    begin,
    end,
    async close(): Promise<void> {
      await end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Slurm of one node with the features of an AMD and of an Intel card, without munge. */
export async function slurm() {
  const folder = await scratch("slurm");
  const [controller, node] = await freePorts(2);
  for (const name of ["state", "spool"]) await mkdir(join(folder, name));
  const conf = join(folder, "slurm.conf");
  await writeFile(
    conf,
    `ClusterName=voxgrad
SlurmctldHost=${hostname()}(127.0.0.1)
SlurmctldPort=${controller}
SlurmdPort=${node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool
SlurmctldPidFile=${folder}/slurmctld.pid
SlurmdPidFile=${folder}/slurmd.pid
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
NodeName=${hostname()} NodeAddr=127.0.0.1 CPUs=3 Features=amd,intel State=UNKNOWN
PartitionName=all Nodes=${hostname()} Default=YES MaxTime=INFINITE State=UP
`,
  );
  const env = { SLURM_CONF: conf };
  const daemons = [start("slurmctld", ["-D"], { env }), start("slurmd", ["-D"], { env })];
  const ask = (program: string, words: readonly string[]): string =>
    execFileSync(program, words, { env: { ...process.env, ...env }, encoding: "utf8" });
  for (let tries = 0;; tries++) {
    try {
      if (/idle/.test(ask("sinfo", ["-h"]))) break;
    } catch {
      // It does not listen yet.
    }
    if (tries > 150) throw new Error(`Slurm does not start:\n${daemons.map(({ output }) => output).join("\n")}`);
    await sleep(200);
  }
  return {
    env,
    ask,
    async close(): Promise<void> {
      try {
        ask("scancel", ["-f", "--me"]);
      } catch {
        // It may be gone.
      }
      await sleep(1000);
      for (const { child } of daemons) kill(child, "SIGTERM");
      await Promise.all(daemons.map(({ ended }) => ended));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What a queue keeps of a job. */
export interface Record {
  readonly state: string;
  readonly attempts: number;
  readonly progress?: { readonly total: number };
  readonly job: { readonly id: string; readonly name: string };
  readonly results?: { readonly [name: string]: string };
}
