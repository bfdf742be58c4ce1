// Under LANG=C, Chromium reports the language "en-US@posix", which Intl rejects, and uPlot uses Intl when it loads.
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US" });
}
