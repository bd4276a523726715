import type { ModelDetails, ModelSummary, Origin, RunsOn, Suggestion, Unloaded } from "../bindings";
import { count, counted, duration, parameters, size } from "../lib/format";

const ORIGINS: Record<Origin, string> = {
  tektra: "Tektra",
  added: "Added folder",
  lm_studio: "LM Studio",
  ollama: "Ollama",
  jan: "Jan",
  hugging_face: "Hugging Face",
};

const ENGINES: Record<RunsOn, string> = {
  tektra_cpu: "Tektra’s CPU engine",
  mistral_rs: "mistral.rs",
  convert: "Nothing yet: it has to be converted",
  nothing: "Nothing",
};

/** Whose folder a model lies in. */
export function originName(origin: Origin): string {
  return ORIGINS[origin];
}

/** What computes a model on a CPU. */
export function runsOnWords(runsOn: RunsOn): string {
  return ENGINES[runsOn];
}

/** The figures of a model that are known: "135 M · Q4_K_M · 94 MiB". */
export function modelFigures(model: ModelSummary): string {
  return [parameters(model.parameters_millions), model.quantization, size(model.size_mib)]
    .filter(Boolean)
    .join(" · ");
}

/** How long a conversation a model can hold and what runs it; empty where neither is known. */
export function modelReach(model: ModelSummary): string {
  const context = model.context_length > 0 ? `${count(model.context_length)} tokens` : "";
  const runs = model.problem ? "" : runsOnWords(model.runs_on);
  return [context, runs].filter(Boolean).join(" · ");
}

/** What a model of the catalogue is: "4.02 B · Q4_K_M · 262,144 tokens · apache-2.0". */
export function suggestionFacts(model: Suggestion): string {
  const { parameters_millions, quantization, context_length, licence } = model;
  return [parameters(parameters_millions), quantization, counted(context_length, "token"), licence]
    .filter(Boolean)
    .join(" · ");
}

/** Why a model cannot be used, without its name: that stands above it. */
export function reason(model: ModelSummary): string {
  const said = model.problem?.message ?? "";
  const beginning = `The model "${model.name}" cannot be used: `;
  if (!said.startsWith(beginning)) return said;
  const rest = said.slice(beginning.length);
  return rest.charAt(0).toLocaleUpperCase("en") + rest.slice(1);
}

function unloadReason({ why }: Unloaded): string {
  switch (why.kind) {
    case "asked":
      return "";
    case "idle":
      return ` after ${counted(why.minutes, "minute")} without a message`;
    case "made_room":
      return ` to make room for ${why.model}`;
  }
}

/** What was unloaded, and why where nobody asked for it. */
export function unloadTitle(unloaded: Unloaded): string {
  return `Unloaded ${unloaded.model}${unloadReason(unloaded)}`;
}

/** What an unload gave back: what the process held before and after, and what the machine gained. */
export function unloadFigures(unloaded: Unloaded): string {
  const held = `${size(unloaded.resident_before_mib)} → ${size(unloaded.resident_after_mib)} held`;
  const took = unloaded.took_ms === null ? "" : ` · in ${duration(unloaded.took_ms)}`;
  return `${held} · ${size(unloaded.given_back_mib)} given back${took}`;
}

/** All of it in a sentence. */
export function unloadNotice(unloaded: Unloaded): string {
  return `${unloadTitle(unloaded)}. ${size(unloaded.given_back_mib)} given back.`;
}

const PARTS: Record<string, string> = {
  attention: "Attention",
  "feed-forward": "Feed-forward",
  embeddings: "Embeddings",
  output: "Output",
  norms: "Norms",
};

/** A part of a model, as the table of types names it. */
export function partLabel(part: string): string {
  return PARTS[part] ?? "Other";
}

/** What is known of a model, as terms and what they are. */
export function aboutModel(details: ModelDetails): [string, string][] {
  const { layers, heads, kv_heads } = details;
  const rows: [string, string][] = [
    ["Architecture", details.architecture],
    ["Parameters", parameters(details.parameters_millions)],
    ["Quantization", details.quantization],
    ["Size", size(details.size_mib)],
    ["Longest context", details.context_length ? counted(details.context_length, "token") : ""],
    ["Layers", layers ? count(layers) : ""],
    ["Heads", heads ? `${count(heads)}, ${count(kv_heads)} for keys and values` : ""],
    ["Vocabulary", details.vocabulary ? counted(details.vocabulary, "token") : ""],
    ["Chat template", details.chat_template ? "In the file" : "None"],
    ["Licence", details.licence ?? "Not named in the file"],
    ["Runs on", runsOnWords(details.runs_on)],
  ];
  return rows.filter(([, value]) => value !== "");
}
