// Loaded before the page's module, so that errors of the page itself are also shown, not only logged to the console.
function show(message) {
  document.getElementById("error").hidden = false;
  document.getElementById("errortext").textContent += `The page: ${message}\n`;
}
addEventListener(
  "error",
  (event) => show(event.message || `cannot load ${event.target.src ?? event.target.href}`),
  true,
);
addEventListener("unhandledrejection", (event) => show(event.reason?.message ?? String(event.reason)));
