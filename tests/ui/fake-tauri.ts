// Stands in for Tauri and the core in a browser: @tauri-apps/api talks to
// `window.__TAURI_INTERNALS__`, and so this answers there. Runs before the page's own scripts.

import type { CoreEvent } from "../../ui/src/bindings";
import { Core, model } from "./fake/core";
import { gguf } from "./fake/models";
import type { FakeOptions } from "./fake/options";

const options: FakeOptions = {
  stories: [],
  models: [
    gguf(model.name, model.size_mib, {
      quantization: model.quantization,
      context_length: model.context_length,
      parameters_millions: 134.515,
    }),
  ],
  settings: {
    theme: "system",
    model: null,
    system_prompt: "",
    temperature: 0.7,
    max_tokens: 1024,
    model_folders: [],
    other_programs: true,
    idle_unload_minutes: 15,
  },
  engine: { kind: "ready", model },
  freeMib: 5288,
  gpus: [],
  profiles: [],
  suggestions: { models: [], best: null },
  downloads: [],
  downloadTickMs: 12,
  workshop: { precisions: {}, work: null, tickMs: 12, fails: null },
  bench: { runs: [], progress: null, cellMs: 60 },
  hub: { models: [], files: {} },
  resources: { history: [], marks: [], probes: [], live: false },
  load: { state: { kind: "none" }, report: null, tickMs: 60 },
  profile: { traces: [], svg: "", secondMs: 20 },
  reply: "The sea has tides because the moon pulls on it.",
  tickMs: 12,
  wordsPerTick: 1,
  firstTokenMs: 20,
  startMs: 10,
  loadMs: 10,
  crashAfterTicks: null,
  failures: {},
  delays: {},
  held: [],
  ...window.__fakeOptions,
};

const callbacks = new Map<number, (message: unknown) => void>();
let nextCallback = 1;
let channel: number | null = null;
let index = 0;

function emit(event: CoreEvent) {
  const callback = channel === null ? undefined : callbacks.get(channel);
  callback?.({ index: index++, message: structuredClone(event) });
}

const core = new Core(options, emit);
let release = () => {};
window.__fake = { options, calls: [], emit, release: () => release() };

async function invoke(
  command: string,
  args: Record<string, unknown> = {},
): Promise<unknown> {
  // As Tauri does, arguments cross as JSON; a Channel writes itself as "__CHANNEL__:id".
  const sent = JSON.parse(JSON.stringify(args)) as Record<string, unknown>;
  window.__fake.calls.push({ command, args: sent });
  if (command === "events_subscribe" && !options.failures[command]) {
    channel = Number(String(sent.channel).replace("__CHANNEL__:", ""));
    return null;
  }
  const answer = await core.answer(command, sent);
  if (options.held.includes(command)) {
    await new Promise<void>((resolve) => (release = resolve));
  }
  return answer;
}

Object.assign(window, {
  isTauri: true,
  __TAURI_INTERNALS__: {
    invoke,
    transformCallback(callback: (message: unknown) => void, once = false) {
      const id = nextCallback++;
      callbacks.set(id, (message) => {
        if (once) callbacks.delete(id);
        callback(message);
      });
      return id;
    },
    unregisterCallback: (id: number) => callbacks.delete(id),
    convertFileSrc: (path: string) => path,
    metadata: {
      currentWindow: { label: "main" },
      currentWebview: { label: "main" },
    },
  },
});
