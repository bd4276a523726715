import { Channel } from "@tauri-apps/api/core";
import { commands, type CoreEvent, type ErrorReport, type FolderKind } from "./bindings";
import type {
  BenchFormat,
  BenchRequest,
  LoadRequest,
  PlacementWish,
  ProfiledProcess,
  ProfileGoal,
  SendRequest,
  Settings,
} from "./bindings";
import { Failure } from "./lib/failure";

// The only file that knows how the window and the core talk to each other.

type Outcome<T> = { status: "ok"; data: T } | { status: "error"; error: ErrorReport };

async function ask<T>(call: () => Promise<Outcome<T>>): Promise<T> {
  let outcome: Outcome<T>;
  try {
    outcome = await call();
  } catch (thrown) {
    throw Failure.from(thrown);
  }
  if (outcome.status === "error") throw Failure.of(outcome.error);
  return outcome.data;
}

/** Every command of the core. Each resolves with its answer or throws a {@link Failure}. */
export const ipc = {
  startup: () => ask(() => commands.startup()),
  conversationsList: () => ask(() => commands.conversationsList()),
  conversationsSearch: (query: string) => ask(() => commands.conversationsSearch(query)),
  conversationOpen: (id: string) => ask(() => commands.conversationOpen(id)),
  conversationRename: (id: string, title: string) =>
    ask(() => commands.conversationRename(id, title)),
  conversationDelete: (id: string) => ask(() => commands.conversationDelete(id)),
  conversationRestore: (id: string) => ask(() => commands.conversationRestore(id)),
  chatSend: (request: SendRequest) => ask(() => commands.chatSend(request)),
  chatStop: (messageId: string) => ask(() => commands.chatStop(messageId)),
  chatContinue: (messageId: string) => ask(() => commands.chatContinue(messageId)),
  chatRegenerate: (messageId: string) => ask(() => commands.chatRegenerate(messageId)),
  branchSelect: (messageId: string) => ask(() => commands.branchSelect(messageId)),
  engineState: () => ask(() => commands.engineState()),
  engineWarm: () => ask(() => commands.engineWarm()),
  engineRestart: () => ask(() => commands.engineRestart()),
  engineUnload: () => ask(() => commands.engineUnload()),
  modelsList: () => ask(() => commands.modelsList()),
  modelDetails: (name: string) => ask(() => commands.modelDetails(name)),
  modelFit: (name: string, contextTokens: number | null) =>
    ask(() => commands.modelFit(name, contextTokens)),
  placementPlan: (name: string, wish: PlacementWish | null) =>
    ask(() => commands.placementPlan(name, wish)),
  placementSet: (name: string, wish: PlacementWish) => ask(() => commands.placementSet(name, wish)),
  profilesList: () => ask(() => commands.profilesList()),
  profileApply: (goal: ProfileGoal) => ask(() => commands.profileApply(goal)),
  precisions: (name: string) => ask(() => commands.precisions(name)),
  quantizeStart: (name: string, kind: string, rules: string[]) =>
    ask(() => commands.quantizeStart(name, kind, rules)),
  qualityMeasure: (name: string) => ask(() => commands.qualityMeasure(name)),
  workshopStop: () => ask(() => commands.workshopStop()),
  workshopState: () => ask(() => commands.workshopState()),
  hubSearch: (text: string) => ask(() => commands.hubSearch(text)),
  hubFiles: (repository: string) => ask(() => commands.hubFiles(repository)),
  resourcesWatch: (intervalMs: number) => ask(() => commands.resourcesWatch(intervalMs)),
  resourcesUnwatch: () => ask(() => commands.resourcesUnwatch()),
  resourcesProbes: () => ask(() => commands.resourcesProbes()),
  benchPlan: (request: BenchRequest) => ask(() => commands.benchPlan(request)),
  benchStart: (request: BenchRequest) => ask(() => commands.benchStart(request)),
  benchCancel: () => ask(() => commands.benchCancel()),
  benchResume: (id: string) => ask(() => commands.benchResume(id)),
  benchState: () => ask(() => commands.benchState()),
  benchRuns: () => ask(() => commands.benchRuns()),
  benchRun: (id: string) => ask(() => commands.benchRun(id)),
  benchDelete: (id: string) => ask(() => commands.benchDelete(id)),
  benchCompare: (a: string, b: string) => ask(() => commands.benchCompare(a, b)),
  benchExport: (id: string, format: BenchFormat) => ask(() => commands.benchExport(id, format)),
  benchApply: (id: string, cell: number) => ask(() => commands.benchApply(id, cell)),
  loadtestStart: (request: LoadRequest) => ask(() => commands.loadtestStart(request)),
  loadtestCancel: () => ask(() => commands.loadtestCancel()),
  loadtestState: () => ask(() => commands.loadtestState()),
  profileTraces: () => ask(() => commands.profileTraces()),
  profileRecord: (process: ProfiledProcess, seconds: number) =>
    ask(() => commands.profileRecord(process, seconds)),
  profileCancel: () => ask(() => commands.profileCancel()),
  profileRender: (messageId: string, milliseconds: number, frames: number) =>
    ask(() => commands.profileRender(messageId, milliseconds, frames)),
  suggestions: () => ask(() => commands.suggestions()),
  downloadsList: () => ask(() => commands.downloadsList()),
  downloadStart: (what: string) => ask(() => commands.downloadStart(what)),
  downloadPause: (file: string) => ask(() => commands.downloadPause(file)),
  downloadRemove: (file: string) => ask(() => commands.downloadRemove(file)),
  settingsGet: () => ask(() => commands.settingsGet()),
  settingsSet: (settings: Settings) => ask(() => commands.settingsSet(settings)),
  openExternal: (url: string) => ask(() => commands.openExternal(url)),
  openFolder: (which: FolderKind) => ask(() => commands.openFolder(which)),
};

type Listener = (event: CoreEvent) => void;

const listeners = new Set<Listener>();
let channel: Channel<CoreEvent> | null = null;

/** Hears every event of the core from now on; the returned function ends that. */
export function onEvent(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Opens the one events channel. Calling it again after a failure tries again. */
export async function listen(): Promise<void> {
  if (channel) return;
  const opened = new Channel<CoreEvent>((event) => {
    for (const listener of listeners) listener(event);
  });
  await ask(() => commands.eventsSubscribe(opened));
  channel = opened;
}
