import type { EngineSample, ResourceSample } from "../bindings";
import { count, counted, size, speed } from "../lib/format";
import { DASH, line, type Chart, type Read } from "./chart";
import { evenTop } from "./span";

// What the engine does, as lines on the time axis of the machine.

const GROUP = "Engine";

function of(read: (engine: EngineSample) => number | null): Read {
  return ({ engine }: ResourceSample) => (engine === null ? null : read(engine));
}

const tokens = (value: number) => counted(Math.round(value), "token");

export const engineCharts: Chart[] = [
  {
    ...line(
      "decode",
      GROUP,
      "Writing",
      speed,
      null,
      "Decode",
      "--series-tokens",
      of((engine) => engine.decode_tokens_per_second),
    ),
    notes: ({ engine }) => (engine === null ? ["No engine runs"] : []),
  },
  line(
    "prefill",
    GROUP,
    "Reading",
    speed,
    null,
    "Prefill",
    "--series-tokens",
    of((engine) => engine.prefill_tokens_per_second),
  ),
  {
    id: "answers",
    group: GROUP,
    title: "Answers",
    write: count,
    top: null,
    end: evenTop,
    series: [
      { label: "Side by side", color: "--series-engine", read: of((engine) => engine.active) },
      {
        label: "Waiting",
        color: "--series-heat",
        dash: DASH,
        read: of((engine) => engine.waiting),
      },
    ],
  },
  line(
    "kv",
    GROUP,
    "KV cache",
    size,
    null,
    "Held",
    "--part-kv",
    of((engine) => engine.kv_mib),
  ),
  {
    ...line(
      "prefix",
      GROUP,
      "Prefix hits",
      tokens,
      null,
      "Reused",
      "--series-in",
      of((engine) => engine.prefix_hit_tokens),
    ),
    end: evenTop,
  },
];
