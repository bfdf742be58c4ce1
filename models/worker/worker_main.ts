/** The module of a worker that segments: start a Worker with it, or let openModel of voxgrad/worker do so. */
import { parentPort } from "../../engine/platform/worker_ports.ts";
import { serveModels } from "./serve_models.ts";

serveModels(parentPort());
