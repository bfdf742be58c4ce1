/**
 * The package version, stored in the files it writes. test/platform/platform.test.ts checks it against package.json.
 */
export const VERSION = "0.2.0";
