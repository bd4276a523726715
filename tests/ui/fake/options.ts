import type {
  DeviceInfo,
  Download,
  EngineState,
  ErrorReport,
  Message,
  ModelSummary,
  ProfileSummary,
  Settings,
  Suggestions,
} from "../../../ui/src/bindings";
import type { FakeResources } from "./resources";
import type { FakeBench } from "./bench";
import type { FakeLoad } from "./load";
import type { FakeProfile } from "./profile";
import type { FakeHub, FakeWorkshop } from "./workshop";

/** A conversation the fake core holds from the start; `messages` may branch. */
export type Story = {
  id: string;
  title: string;
  updated_at_ms: number;
  /** The last message of the branch that is shown. */
  leaf: string;
  messages: Omit<Message, "siblings" | "conversation_id">[];
};

/** What a test says about the world before the page starts. */
export type FakeOptions = {
  stories: Story[];
  models: ModelSummary[];
  settings: Settings;
  /** What the machine has free, in MiB. */
  freeMib: number;
  /** The GPUs beside the CPU. */
  gpus: DeviceInfo[];
  profiles: ProfileSummary[];
  suggestions: Suggestions;
  downloads: Download[];
  /** Time in which a tenth of a download comes. */
  downloadTickMs: number;
  workshop: FakeWorkshop;
  bench: FakeBench;
  hub: FakeHub;
  resources: FakeResources;
  load: FakeLoad;
  profile: FakeProfile;
  engine: EngineState;
  /** The words that every answer consists of. */
  reply: string;
  /** Time between two ticks of a stream, and the words in one tick. */
  tickMs: number;
  wordsPerTick: number;
  /** Time from a question to the first word. */
  firstTokenMs: number;
  startMs: number;
  loadMs: number;
  /** The engine ends after so many ticks of an answer. */
  crashAfterTicks: number | null;
  /** Commands (as on the wire) that fail, and how. */
  failures: Record<string, ErrorReport>;
  /** Commands that take so many milliseconds. */
  delays: Record<string, number>;
  /** Commands that are done at once, but answer only when the test releases them. */
  held: string[];
};

/** What a test can see and do in the page through `window.__fake`. */
export type FakeHandle = {
  options: FakeOptions;
  calls: { command: string; args: Record<string, unknown> }[];
  emit: (event: import("../../../ui/src/bindings").CoreEvent) => void;
  release: () => void;
};

declare global {
  interface Window {
    __fakeOptions?: Partial<FakeOptions>;
    __fake: FakeHandle;
  }
}
