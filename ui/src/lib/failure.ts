import type { ErrorCode, ErrorReport } from "../bindings";

/** A code of the core's, or `unexpected` for what the window itself got wrong. */
export type FailureCode = ErrorCode | "unexpected";

/** What went wrong, in words for the person: what happened and is safe, and what to do. */
export class Failure extends Error {
  readonly code: FailureCode;
  readonly hint: string;

  constructor(code: FailureCode, message: string, hint: string) {
    super(message);
    this.name = "Failure";
    this.code = code;
    this.hint = hint;
  }

  /** The failure a report from the core describes. */
  static of(report: ErrorReport): Failure {
    return new Failure(report.code, report.message, report.hint);
  }

  /** Whatever was thrown, as a failure that can be shown. */
  static from(thrown: unknown): Failure {
    if (thrown instanceof Failure) return thrown;
    const said = thrown instanceof Error ? thrown.message : String(thrown);
    return new Failure(
      "unexpected",
      `Something went wrong in the window: ${said}. Your conversations are safe on disk.`,
      "Try it again. If it comes back, close Tektra and open it again.",
    );
  }
}
