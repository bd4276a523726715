import type { AnswerTrace } from "../../../ui/src/bindings";

/** What is known of the time of answers, and what a recording gives. */
export type FakeProfile = {
  traces: AnswerTrace[];
  svg: string;
  /** How long a second of a recording takes. */
  secondMs: number;
};

type Args = Record<string, unknown>;

/** Plays the part of the core that keeps spans and samples stacks. */
export class Profile {
  #end: (() => void) | null = null;

  constructor(private fake: FakeProfile) {}

  readonly commands: Record<string, (args: Args) => unknown> = {
    profile_traces: () => this.fake.traces,
    profile_render: ({ messageId, milliseconds }) => {
      const trace = this.fake.traces.find(
        ({ message_id }) => message_id === messageId,
      );
      trace?.spans.push({
        name: "render",
        start_ms: 0,
        duration_ms: Number(milliseconds),
        depth: 1,
        detail: null,
      });
      return null;
    },
    profile_record: ({ seconds }) =>
      new Promise((done) => {
        const timer = setTimeout(
          () => done(this.fake.svg),
          Number(seconds) * this.fake.secondMs,
        );
        this.#end = () => {
          clearTimeout(timer);
          done(null);
        };
      }),
    profile_cancel: () => {
      this.#end?.();
      return null;
    },
  };
}
