// Packages that only some need, so voxgrad does not install them.

/** Their versions; test/platform/optional_packages.test.ts compares them with package.json. */
export const optionalVersions = {
  "@niivue/niivue": "0.69.0",
  "@sparticuz/chromium": "147.0.0",
  esbuild: "0.28.2",
  webgpu: "0.6.2",
};

/**
 * The command that adds a package to a project.
 *
 * @param {keyof typeof optionalVersions} name
 */
export function installCommand(name) {
  return `${"Deno" in globalThis ? "deno add npm:" : "npm i "}${name}@${optionalVersions[name]}`;
}

/**
 * The message for a package that is missing.
 *
 * @param {string} use what voxgrad does with it, such as "voxgrad computes through"
 * @param {keyof typeof optionalVersions} name
 */
export function missing(use, name) {
  return `${use} the package ${name}, which is not installed: run ${installCommand(name)}`;
}
