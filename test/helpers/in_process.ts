/** Trains in this process, so that runs share compiled kernels. */
import { platform } from "../../engine/platform/node.ts";

/** Thrown to stop a run. */
class Stopped extends Error {}

/**
 * Calls a training; returns its log and its error.
 *
 * @param options stop: the training ends as if killed when a line of its progress matches
 */
export async function inProcess(
  call: () => unknown,
  options: { stop?: RegExp } = {},
): Promise<{ output: string; error: Error | undefined }> {
  const { log, progress } = platform;
  let output = "";
  platform.log = (line) => void (output += `${line}\n`);
  platform.progress = ({ text }) => {
    output += `${text}\n`;
    if (options.stop?.test(text)) throw new Stopped(text);
  };
  try {
    await call();
    return { output, error: undefined };
  } catch (error) {
    return { output, error: error instanceof Stopped ? undefined : (error as Error) };
  } finally {
    Object.assign(platform, { log, progress });
  }
}
