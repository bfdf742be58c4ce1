/** `--tune`: tunes the kernels of a whole run, without changes to the script. */
import { tuneNew } from "./traced_program.ts";
import { tuneNew as tune } from "./tune.ts";

tuneNew.is(tune);
