/**
 * Whether this process is a program of voxgrad, not a host of the library: only a program reads its command line, takes
 * signals and writes to the terminal. See Platform.readCommandLine.
 */
export const program = { runs: false };
