import type { EngineState } from "../bindings";
import { estimate, size } from "../lib/format";

/** The state of the engine in words. */
export function engineWords(engine: EngineState): string {
  switch (engine.kind) {
    case "idle":
      return "Starts when you type";
    case "starting":
      return "Starting engine";
    case "loading": {
      const about = engine.expected_ms === null ? "" : `, about ${estimate(engine.expected_ms)}`;
      return `Loading ${engine.model}, ${size(engine.size_mib)}${about}`;
    }
    case "ready":
      return "Ready";
    case "thinking":
      return engine.waiting > 0 ? `Thinking, ${engine.waiting} waiting` : "Thinking";
    case "failed":
      return `Failed: ${engine.error.message}`;
  }
}

/** What an answer without a word yet is waiting for. */
export function waitingWords(engine: EngineState, begun: boolean): string {
  if (begun) return "Reading your message";
  switch (engine.kind) {
    case "thinking":
      return "Waiting for another answer to finish";
    case "starting":
    case "loading":
      return engineWords(engine);
    case "idle":
    case "ready":
      return "Handing over to the engine";
    case "failed":
      return "The engine is not running";
  }
}
