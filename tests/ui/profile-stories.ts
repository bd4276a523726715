import type { AnswerTrace, Span, StageName } from "../../ui/src/bindings";

type Parts = Partial<Record<StageName, number>>;

/** One stage after another, and those of the writing inside of it. */
function trace(message_id: string, title: string, parts: Parts): AnswerTrace {
  const spans: Span[] = [];
  let at = 0.4;
  for (const name of [
    "queue",
    "load",
    "tokenize",
    "prefill",
    "decode",
  ] as const) {
    const duration_ms = parts[name];
    if (duration_ms === undefined) continue;
    spans.push({ name, start_ms: at, duration_ms, depth: 1, detail: null });
    at += duration_ms;
  }
  const decode = spans.find(({ name }) => name === "decode");
  let inside = decode?.start_ms ?? 0;
  for (const name of [
    "sample",
    "detokenize",
    "store",
    "ipc",
    "render",
  ] as const) {
    const duration_ms = parts[name];
    if (duration_ms === undefined) continue;
    spans.push({
      name,
      start_ms: inside,
      duration_ms,
      depth: 2,
      detail: "212 times",
    });
    inside += duration_ms;
  }
  const total_ms = at + 3.1;
  spans.unshift({
    name: "answer",
    start_ms: 0,
    duration_ms: total_ms,
    depth: 0,
    detail: null,
  });
  return {
    message_id,
    conversation_id: "tides",
    title,
    started_ms: Date.UTC(2026, 10, 23, 16, 40),
    total_ms,
    spans,
  };
}

/** The last answers, the latest first: one of a loaded model, one that had to load it. */
export const someTraces: AnswerTrace[] = [
  trace("a3", "Why does the sea have tides?", {
    queue: 2.1,
    tokenize: 1.2,
    prefill: 412,
    decode: 5120,
    sample: 84,
    detokenize: 12.4,
    store: 31,
    ipc: 9.6,
    render: 640,
  }),
  trace("a2", "How is bread made?", {
    queue: 1.9,
    load: 812,
    tokenize: 0.9,
    prefill: 366,
    decode: 4810,
    sample: 71,
    detokenize: 10.8,
    store: 28,
    ipc: 8.8,
    render: 602,
  }),
  trace("a1", "Birds that cannot fly, and a title that is rather long", {
    queue: 1210,
    tokenize: 1.4,
    prefill: 298,
    decode: 2260,
    sample: 33,
    detokenize: 6.1,
    store: 14,
    ipc: 4.2,
  }),
];

const FRAMES = [
  ["tektra-engine", 0, 100, 0],
  ["tokio worker", 0, 22, 1],
  ["executor::step", 22, 78, 1],
  ["matmul::q4_1", 22, 51, 2],
  ["attention", 73, 19, 2],
  ["sample", 92, 6, 2],
  ["dot_avx2", 24, 46, 3],
] as const;

/** A flame graph, with a script in it that must not run. */
export const flameGraph = [
  '<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="150" viewBox="0 0 1200 150">',
  "<script>parent.document.title = 'broken into'</script>",
  '<rect width="1200" height="150" fill="#f8f8f8"/>',
  ...FRAMES.map(
    ([name, from, width, depth], i) =>
      `<rect x="${from * 12}" y="${120 - depth * 26}" width="${width * 12 - 1}" height="24" fill="hsl(${20 + i * 6} 80% 62%)"/>` +
      `<text x="${from * 12 + 6}" y="${136 - depth * 26}" font-family="monospace" font-size="12">${name}</text>`,
  ),
  "</svg>",
].join("");
