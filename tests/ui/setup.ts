import { chromium } from "playwright-core";
import { build, preview } from "vite";
import type { TestProject } from "vitest/node";
import { fileURLToPath } from "node:url";

// Once for all browser tests: the built window on a free port, one browser, and the fake core
// as one script.

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The policy the real window runs under (tauri.conf.json); a breach fails the test. */
const POLICY = [
  "default-src 'self'",
  "img-src 'self' data:",
  "style-src 'self' 'unsafe-inline'",
  "font-src 'self'",
  "connect-src 'self' ipc: http://ipc.localhost",
].join("; ");

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

declare module "vitest" {
  export interface ProvidedContext {
    address: string;
    browser: string;
    fake: string;
  }
}

export default async function setup(project: TestProject) {
  const bundle = await build({
    configFile: false,
    logLevel: "error",
    build: {
      write: false,
      minify: false,
      lib: {
        entry: here("./fake-tauri.ts"),
        formats: ["iife"],
        name: "fakeTauri",
      },
    },
  });
  const [first] = Array.isArray(bundle) ? bundle : [bundle];
  if (!first || !("output" in first))
    throw new Error("the fake core was not built");

  const server = await preview({
    root: here("../../ui"),
    configFile: false,
    logLevel: "error",
    preview: {
      port: 0,
      strictPort: false,
      host: "127.0.0.1",
      headers: { "content-security-policy": POLICY },
    },
  });
  const browser = await chromium.launchServer({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: FLAGS,
  });
  const address = server.resolvedUrls?.local[0];
  if (!address) throw new Error("the preview server has no address");
  project.provide("address", address);
  project.provide("browser", browser.wsEndpoint());
  project.provide("fake", first.output[0].code);
  return async () => {
    await browser.close();
    await server.close();
  };
}
