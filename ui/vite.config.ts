import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig, type Plugin } from "vite";

/** Keeps only KaTeX's woff2 fonts: every WebView we run in reads them, and they are a third of the size. */
function woff2Only(): Plugin {
  return {
    name: "woff2-only",
    enforce: "pre",
    transform(code, id) {
      if (!/katex[^/]*\.css/.test(id)) return null;
      return code.replace(
        /,\s*url\([^)]*\.(?:woff|ttf)\)\s*format\(["'](?:woff|truetype)["']\)/g,
        "",
      );
    },
  };
}

export default defineConfig({
  plugins: [woff2Only(), svelte()],
  clearScreen: false,
  server: { port: 1420, strictPort: true },
  build: {
    target: ["chrome120", "safari17"],
    // The content security policy allows fonts from 'self' only, so nothing may become a data: address.
    assetsInlineLimit: 0,
    // The bundle is read from disk, not from a network.
    chunkSizeWarningLimit: 1500,
  },
});
