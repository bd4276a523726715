// The system's language may be none: "C" in a bare session, which WebKit hands on and `Intl` refuses.
// What asks for numbers in the person's language, uPlot for one, would fail with it.
try {
  Intl.getCanonicalLocales(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en", configurable: true });
}
