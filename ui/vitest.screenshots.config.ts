import { defineConfig } from "vitest/config";
import browser from "./vitest.browser.config";

/** Pictures of every state, size and theme, written to the folder $SHOTS. */
export default defineConfig({
  ...browser,
  test: { ...browser.test, include: ["tests/ui/screenshots.ts"], testTimeout: 120_000 },
});
