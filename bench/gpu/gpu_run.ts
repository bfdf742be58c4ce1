/** What a run of gpu.ts gathers. */
import type { Roofs, TunedKernel } from "../../engine/mod.ts";
import type { EngineId } from "../peers/asked.ts";
import type { Result, Row } from "../peers/bench.ts";
import type { Facts, Work } from "../peers/item.ts";
import type { CheckResult } from "./checks.ts";

/** What Dawn reports about the adapter. */
export interface AdapterFacts {
  /** As the engine names it. */
  readonly device: string;
  readonly kind: "hardware" | "software";
  readonly adapter: Readonly<Record<string, string | number>>;
  readonly features: readonly string[];
  readonly subgroupMatrixConfigs: readonly object[];
  readonly limits: Readonly<Record<string, number>>;
  /** The toggles that Dawn was created with. */
  readonly toggles: readonly string[];
  /** Version of the npm package webgpu. */
  readonly webgpu: string;
}

/** nnU-Net's training and validation iterations on one engine. */
export interface Epochs {
  readonly id: EngineId;
  readonly train: Result & { readonly facts: Facts };
  readonly validation: Result & { readonly facts: Facts };
}

/** The works of a step that took most time, with the times of their variants. */
export interface Tuning {
  readonly item: string;
  readonly id: EngineId;
  readonly works: (Work & { readonly kernel?: TunedKernel; readonly cannot?: string })[];
  /** Milliseconds of a step before and after. */
  before?: number;
  after?: number;
  cannot?: string;
}

export interface GpuRun {
  readonly date: string;
  readonly small: boolean;
  readonly minutes: number;
  readonly node: string;
  readonly cpu: string;
  /** VOXGRAD_KERNELS, where it chooses kernels for another kind of adapter. */
  readonly kernels: string;
  readonly facts: AdapterFacts;
  /** Why PyTorch is not measured, if it is not. */
  readonly noTorch: string | null;
  /** Roofs, or why they are not known. */
  roofs: Roofs | { readonly error: string };
  engines: Readonly<Partial<Record<EngineId, { readonly version: string; readonly device: string }>>>;
  readonly checks: CheckResult[];
  readonly operators: Row[];
  readonly networks: Row[];
  readonly epochs: Epochs[];
  readonly tunings: Tuning[];
  /** Wrong results, crashes, what time did not suffice for. */
  readonly problems: string[];
  /** Minutes that it took so far. */
  took: number;
}

/** Training and validation iterations of nnU-Net in an epoch, and epochs of its benchmark. */
export const NNUNET = { train: 250, validation: 50, epochs: 5 } as const;
