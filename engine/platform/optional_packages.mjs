// Packages that only some need, so voxgrad does not install them.

/** Their versions; test/platform/optional_packages.test.ts compares them with package.json. */
export const optionalVersions = {
  "@nats-io/jetstream": "3.4.0",
  "@nats-io/kv": "3.4.0",
  "@nats-io/obj": "3.4.0",
  "@nats-io/transport-node": "3.4.0",
  "@niivue/niivue": "0.69.0",
  "@sparticuz/chromium": "147.0.0",
  esbuild: "0.28.2",
  webgpu: "0.6.2",
  zeromq: "6.8.0",
};

/**
 * The command that adds packages to a project.
 *
 * @param {...keyof typeof optionalVersions} names
 */
export function installCommand(...names) {
  const npm = "Deno" in globalThis ? "npm:" : "";
  const words = names.map((name) => `${npm}${name}@${optionalVersions[name]}`);
  return `${"Deno" in globalThis ? "deno add" : "npm i"} ${words.join(" ")}`;
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
