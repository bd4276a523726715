import { join } from "node:path";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const ui = import.meta.dirname;

/** The tests live beside ui/, their packages in it: bare names are looked up here. */
function packagesOfUi(): Plugin {
  return {
    name: "packages-of-ui",
    enforce: "pre",
    async resolveId(source, importer) {
      if (
        /^[./\0]/.test(source) ||
        source.startsWith("node:") ||
        !importer?.includes("/tests/ui/")
      ) {
        return null;
      }
      return this.resolve(source, join(ui, "package.json"), { skipSelf: true });
    },
  };
}

/** Browser tests: the built window (`npm run build` first) in Chromium, with a fake core behind it. */
export default defineConfig({
  root: join(ui, ".."),
  cacheDir: join(ui, "node_modules/.vite"),
  plugins: [packagesOfUi()],
  test: {
    include: ["tests/ui/**/*.test.ts"],
    globalSetup: [join(ui, "../tests/ui/setup.ts")],
    // One browser, few cores: pages side by side would only make each other late.
    fileParallelism: false,
    isolate: false,
    setupFiles: [join(ui, "../tests/ui/hooks.ts")],
    testTimeout: 60_000,
  },
});
