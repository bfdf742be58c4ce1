// Chromium under LANG=C calls its language "en-US@posix", which Intl, and so uPlot as it loads, refuses.
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US" });
}
