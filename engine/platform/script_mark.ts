/** All modules of a bundle share one `import.meta.url`; the bundler appends this to the script's. */
export const SCRIPT_MARK = "#voxgrad-script";
