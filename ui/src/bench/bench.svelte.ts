import type {
  BenchCell,
  BenchComparison,
  BenchProgress,
  BenchRequest,
  BenchRun,
  BenchRunSummary,
  CoreEvent,
} from "../bindings";
import { ipc } from "../ipc";
import { Failure } from "../lib/failure";
import { moment } from "../lib/format";
import { load } from "../loadtest/load.svelte";
import { placing } from "../models/placing.svelte";
import { preferences } from "../settings/settings.svelte";
import { attempt, toasts } from "../shell/toasts.svelte";
import { wish } from "./wish.svelte";
import { modelWords, presetName } from "./words";

/** What the view shows: the list with the new run, one run, or two beside each other. */
export type Page =
  { kind: "home" } | { kind: "run"; id: string } | { kind: "compare"; a: string; b: string };

/** Runs of the benchmark, or the test of how many people can use the engine at once. */
export type Tab = "runs" | "people";

/** How many runs can be set side by side. */
const PAIR = 2;

/** A run by its preset and its time: "Quick, 23 Nov 2026, 16:40". */
export function runName(run: BenchRunSummary): string {
  const when = run.started_ms === null ? "" : `, ${moment(run.started_ms)}`;
  return presetName(run.preset) + when;
}

/** Benchmarks: the one that runs, those that were, and the ones that are looked at. */
class Bench {
  /** null: none runs. */
  progress = $state.raw<BenchProgress | null>(null);
  /** When progress was last heard of (performance.now), for the seconds since. */
  heardAt = $state(0);
  /** Between the wish to begin, go on or cancel and the first word of it. */
  asking = $state(false);
  /** Why the last wish was refused. */
  refused = $state.raw<Failure | null>(null);
  /** The run that ended while the window was open, until that is read. */
  ended = $state<string | null>(null);

  tab = $state<Tab>("runs");
  runsKnown = $state(false);
  runsFailure = $state.raw<Failure | null>(null);
  page = $state.raw<Page>({ kind: "home" });
  /** The opened run, or null while it is read. */
  run = $state.raw<BenchRun | null>(null);
  comparison = $state.raw<BenchComparison | null>(null);
  /** Why the opened page cannot be shown. */
  pageFailure = $state.raw<Failure | null>(null);
  /** Runs marked for comparing, the older mark first. */
  picked = $state.raw<string[]>([]);
  /** The cell that is being applied. */
  applying = $state<number | null>(null);

  #all = $state.raw<BenchRunSummary[]>([]);
  /** Deleted, but for the Undo that is still on the screen. */
  #leaving = $state.raw<ReadonlySet<string>>(new Set());
  #heard = false;
  #asked = 0;
  #looks = 0;

  /** Every run that is not deleted, the latest first. */
  get runs(): BenchRunSummary[] {
    return this.#all.filter((run) => !this.#leaving.has(run.id));
  }

  get full(): boolean {
    return this.picked.length >= PAIR;
  }

  /** Whether one runs or is being begun, a load test too: only one thing is measured at a time. */
  get busy(): boolean {
    return this.progress !== null || this.asking || load.busy;
  }

  /** Whether what is put together can be begun. */
  get canBegin(): boolean {
    return !this.busy && !wish.stale && !wish.isWrong && (wish.plan?.cells.length ?? 0) > 0;
  }

  summary(id: string): BenchRunSummary | undefined {
    return this.#all.find((run) => run.id === id);
  }

  /** Asks what goes on; from then on it is told. */
  async start(): Promise<void> {
    const told = await ipc.benchState();
    // An event that came meanwhile is newer than this answer.
    if (!this.#heard) this.#take(told);
  }

  take(event: CoreEvent): void {
    if (event.type !== "bench_changed") return;
    this.#heard = true;
    const before = this.progress;
    const now = event.progress;
    this.#take(now);
    const shown = this.page.kind === "run" ? this.page.id : null;
    // On its own page the run itself shows that it has ended.
    if (before && !now && before.run_id !== shown) this.ended = before.run_id;
    if (now) this.ended = null;
    if (before?.cells_done === now?.cells_done && before?.run_id === now?.run_id) return;
    void this.look();
    if (shown !== null && shown === (now ?? before)?.run_id) void this.#read();
  }

  /** Reads the list of runs. */
  async look(): Promise<void> {
    const asked = ++this.#looks;
    try {
      const runs = await ipc.benchRuns();
      if (asked !== this.#looks) return;
      this.#all = runs;
      this.runsFailure = null;
    } catch (thrown) {
      if (asked !== this.#looks) return;
      this.runsFailure = Failure.from(thrown);
    }
    this.runsKnown = true;
    this.picked = this.picked.filter((id) => this.runs.some((run) => run.id === id));
  }

  begin(request: BenchRequest): Promise<void> {
    return this.#ask(() => ipc.benchStart(request));
  }

  /** Begins what is put together in the view. */
  beginWished(): void {
    if (this.canBegin) void this.begin(wish.request);
  }

  resume(id: string): Promise<void> {
    return this.#ask(() => ipc.benchResume(id));
  }

  cancel(): Promise<void> {
    return this.#ask(() => ipc.benchCancel());
  }

  home(): void {
    this.#go({ kind: "home" });
  }

  /** Leaves a run or a comparison for the list; false where the list is shown already. */
  back(): boolean {
    if (this.tab !== "runs" || this.page.kind === "home") return false;
    this.home();
    return true;
  }

  open(id: string): void {
    this.tab = "runs";
    if (this.ended === id) this.ended = null;
    this.#go({ kind: "run", id });
  }

  compare(a: string, b: string): void {
    this.#go({ kind: "compare", a, b });
  }

  /** Reads the opened page again. */
  again(): void {
    this.pageFailure = null;
    void this.#read();
  }

  /** Marks a run for comparing, or takes the mark off. */
  pick(id: string): void {
    if (this.picked.includes(id)) this.picked = this.picked.filter((one) => one !== id);
    else if (!this.full) this.picked = [...this.picked, id];
  }

  /** Takes a run from the list; it is forgotten once the Undo has gone. */
  remove(run: BenchRunSummary): void {
    const { id } = run;
    this.#leaving = new Set([...this.#leaving, id]);
    this.picked = this.picked.filter((one) => one !== id);
    if (this.ended === id) this.ended = null;
    if (this.page.kind === "run" && this.page.id === id) this.home();
    const stay = () => {
      this.#leaving = new Set([...this.#leaving].filter((one) => one !== id));
    };
    const forget = async () => {
      if (await attempt(() => ipc.benchDelete(id))) {
        this.#all = this.#all.filter((one) => one.id !== id);
        // A list that is being read may still have it.
        void this.look();
      }
      stay();
    };
    toasts.undo(`Deleted the run ${runName(run)}`, stay, () => void forget());
  }

  /** Uses a cell's model and placement from now on, with a way back. */
  async apply(cell: BenchCell, index: number): Promise<void> {
    const run = this.run;
    if (!run || this.applying !== null) return;
    this.applying = index;
    await attempt(async () => {
      const { model } = cell.key;
      const before = preferences.now.model;
      const { wish: placement } = await ipc.placementPlan(model, null);
      preferences.now = await ipc.benchApply(run.summary.id, index);
      placing.reread(model);
      toasts.undo(`Using ${modelWords(cell.key)} as it was measured`, () => {
        void attempt(async () => {
          await ipc.placementSet(model, placement);
          placing.reread(model);
          await preferences.change({ model: before });
        });
      });
    });
    this.applying = null;
  }

  #go(page: Page) {
    this.page = page;
    this.run = null;
    this.comparison = null;
    this.pageFailure = null;
    this.refused = null;
    void this.#read();
  }

  async #read(): Promise<void> {
    const asked = ++this.#asked;
    const { page } = this;
    try {
      const run = page.kind === "run" ? await ipc.benchRun(page.id) : null;
      const both = page.kind === "compare" ? await ipc.benchCompare(page.a, page.b) : null;
      if (asked !== this.#asked) return;
      this.run = run;
      this.comparison = both;
      this.pageFailure = null;
    } catch (thrown) {
      if (asked === this.#asked) this.pageFailure = Failure.from(thrown);
    }
  }

  async #ask(work: () => Promise<unknown>): Promise<void> {
    if (this.asking) return;
    this.asking = true;
    this.refused = null;
    try {
      await work();
    } catch (thrown) {
      this.refused = Failure.from(thrown);
    } finally {
      this.asking = false;
    }
  }

  #take(progress: BenchProgress | null) {
    this.progress = progress;
    this.heardAt = performance.now();
  }
}

export const bench = new Bench();
