/** All modules of a bundle have one `import.meta.url`; the bundler adds this to that of the script. */
export const SCRIPT_MARK = "#voxgrad-script";
