/**
 * The version of this package, which what it writes carries; test/platform/platform.test.ts holds it against
 * package.json.
 */
export const VERSION = "0.2.0";
