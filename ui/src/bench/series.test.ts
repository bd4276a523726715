import { describe, expect, test } from "vitest";
import type { BenchCell, BenchRun, CellKey, Metric, MetricName } from "../bindings";
import { cardFacts, cardWords } from "./card-facts";
import { columnsOf, nextSorting, sortedRows } from "./columns";
import { ends, linear, niceTicks, tickWords } from "./scale";
import {
  barsOf,
  barWords,
  bestSeries,
  leftWords,
  MOST_BARS,
  qualityAgainstSpeed,
  speedAgainstDepth,
  throughputAgainstLatency,
} from "./series";

function metric(name: MetricName, median: number | null, more: Partial<Metric> = {}): Metric {
  const spread = median === null ? null : median / 10;
  return {
    name,
    unit: "",
    higher_is_better: true,
    median,
    low: median === null || spread === null ? null : median - spread,
    high: median === null || spread === null ? null : median + spread,
    mean: median,
    sd: 0,
    p95: null,
    p99: null,
    samples: [median, median, median],
    ...more,
  };
}

function cell(key: Partial<CellKey>, decode: number | null, more: Partial<BenchCell> = {}) {
  return {
    key: {
      model: "Smol",
      quantization: "Q4_K_M",
      batch: 1,
      threads: 2,
      depth_tokens: 0,
      kv: "f16" as const,
      placement: "CPU",
      ...key,
    },
    outcome: { kind: "measured" as const },
    model_hash: "",
    metrics: [
      metric("decode_tokens_per_second", decode),
      metric("inter_token_ms", decode === null ? null : (1000 * (key.batch ?? 1)) / decode, {
        p95: 30,
      }),
    ],
    quality: null,
    marks: [],
    ...more,
  } satisfies BenchCell;
}

function run(cells: BenchCell[]): BenchRun {
  return {
    summary: {
      id: "1",
      started_ms: null,
      seconds: 10,
      preset: "quick",
      models: ["Smol"],
      cells: cells.length,
      cells_done: cells.length,
      state: "done",
      machine: "Machine",
      best_decode_tokens_per_second: null,
    },
    machine: {
      cpu: "Ryzen",
      cores: 8,
      memory_mib: 32_768,
      gpus: [],
      system: "Linux",
      tektra_version: "1.0.0",
      engine_version: "1",
      simd: "AVX2",
    },
    marks: [],
    cells,
  };
}

const failed = cell({ batch: 2 }, null, {
  outcome: { kind: "failed", why: "It ended." },
  metrics: [],
});

describe("the table", () => {
  test("has only the columns in which something was measured", () => {
    expect(columnsOf([cell({}, 40), failed]).map((column) => column.label)).toEqual([
      "Decode",
      "Between tokens, p95",
    ]);
    const measured = { perplexity: 17, kl_mean: null, kl_p99: null };
    const quality = { ...measured, same_top_percent: null, reference: null };
    const columns = columnsOf([cell({}, 40, { quality })]);
    expect(columns.map((column) => column.id)).toContain("perplexity");
    expect(columns.map((column) => column.id)).not.toContain("kl_mean");
  });

  test("sorts by a column with what has no figure last, either way", () => {
    const cells = [cell({}, 20), failed, cell({ batch: 4 }, 30), cell({ batch: 8 }, 10)];
    const order = (descending: boolean) =>
      sortedRows(cells, { column: "decode_tokens_per_second", descending }).map((row) => row.index);
    expect(order(true)).toEqual([2, 0, 3, 1]);
    expect(order(false)).toEqual([3, 0, 2, 1]);
    expect(sortedRows(cells, null).map((row) => row.index)).toEqual([0, 1, 2, 3]);
  });

  test("a heading leads from the best to the worst and back", () => {
    const [decode, between] = columnsOf([cell({}, 20)]);
    if (!decode || !between) throw new Error("columns are missing");
    const first = nextSorting(null, decode);
    expect(first).toEqual({ column: decode.id, descending: true });
    const second = nextSorting(first, decode);
    expect(second).toEqual({ column: decode.id, descending: false });
    expect(nextSorting(second, decode)).toBeNull();
    expect(nextSorting(second, between)).toEqual({ column: between.id, descending: false });
  });
});

describe("series", () => {
  test("bars are what was measured, named by what differs", () => {
    const { bars, left } = barsOf(run([cell({}, 40), failed]), "decode_tokens_per_second");
    expect(left).toBe(0);
    expect(bars.map((bar) => barWords(bar, "tok/s"))).toEqual(["batch 1: 40.0 (36.0–44.0) tok/s"]);
  });

  test("of many bars the best are kept, in their order", () => {
    const cells = Array.from({ length: MOST_BARS + 3 }, (_, i) =>
      cell({ threads: i + 1 }, 100 - i),
    );
    const { bars, left } = barsOf(run(cells), "decode_tokens_per_second");
    expect(left).toBe(3);
    expect(bars[0]?.name).toBe("1 thread");
    expect(bars.at(-1)?.name).toBe(`${MOST_BARS} threads`);
  });

  test("depth makes a series for each other configuration", () => {
    const found = speedAgainstDepth(
      run([
        cell({ depth_tokens: 4096 }, 30),
        cell({}, 40),
        cell({ kv: "q8" }, 38),
        cell({ kv: "q8", depth_tokens: 4096 }, 33),
        cell({ kv: "f32" }, 12),
      ]),
    );
    expect(found.map(({ name, marks }) => [name, marks.map(({ x, y }) => [x, y])])).toEqual([
      [
        "KV f16",
        [
          [0, 40],
          [4096, 30],
        ],
      ],
      [
        "KV q8",
        [
          [0, 38],
          [4096, 33],
        ],
      ],
    ]);
    expect(speedAgainstDepth(run([cell({}, 40), cell({ kv: "q8" }, 38)]))).toEqual([]);
  });

  test("throughput is that of the whole batch, as it was measured", () => {
    const [series] = throughputAgainstLatency(run([cell({}, 40), cell({ batch: 4 }, 100)]));
    expect(series?.marks.map(({ x, y, tag }) => [x, y, tag])).toEqual([
      [40, 25, "×1"],
      [100, 40, "×4"],
    ]);
  });

  test("of many lines the fastest are shown, in their order", () => {
    const cells = [1, 2, 3, 4, 5, 6, 7, 8].flatMap((threads) =>
      [0, 4096].map((depth_tokens) => cell({ threads, depth_tokens }, threads * 10)),
    );
    const { series, left } = bestSeries(speedAgainstDepth(run(cells)), ({ y }) => y);
    expect(series.map(({ name }) => name)).toEqual(
      [3, 4, 5, 6, 7, 8].map((threads) => `${threads} threads`),
    );
    expect(leftWords(series.length, left)).toBe(". The best 6; 2 more in the table");
    expect(leftWords(6, 0)).toBe("");
  });

  test("quality is by KL divergence where any has it, with memory as the area", () => {
    const quality = (perplexity: number, kl_mean: number | null) => ({
      perplexity,
      kl_mean,
      kl_p99: null,
      same_top_percent: null,
      reference: null,
    });
    const small = cell({}, 40, { quality: quality(17, 0.02) });
    small.metrics.push(metric("peak_resident_mib", 100));
    const large = cell({ model: "Large" }, 10, { quality: quality(12, 0.01) });
    large.metrics.push(metric("peak_resident_mib", 400));
    const found = qualityAgainstSpeed(run([small, large, cell({ batch: 8 }, 5)]));
    expect(found?.measure).toBe("KL divergence");
    expect(found?.series.map(({ marks }) => marks.map(({ x, y, area }) => [x, y, area]))).toEqual([
      [[40, 0.02, 0.25]],
      [[10, 0.01, 1]],
    ]);
    const plain = qualityAgainstSpeed(run([cell({}, 40, { quality: quality(17, null) })]));
    expect(plain?.measure).toBe("Perplexity");
    expect(qualityAgainstSpeed(run([cell({}, 40)]))).toBeNull();
  });
});

describe("scales", () => {
  test("ticks are round and cover the values", () => {
    expect(niceTicks(0, 41.9)).toEqual([0, 20, 40, 60]);
    expect(niceTicks(0, 0.027)).toEqual([0, 0.01, 0.02, 0.03]);
    expect(niceTicks(11.8, 17.5)).toEqual([10, 12, 14, 16, 18]);
    expect(niceTicks(0, 0)).toEqual([0, 1]);
    expect(ends(niceTicks(17, 17))).toEqual([0, 20]);
  });

  test("values are placed in proportion", () => {
    const y = linear([0, 50], [200, 0]);
    expect([y(0), y(25), y(50)]).toEqual([200, 100, 0]);
    expect(linear([3, 3], [0, 10])(3)).toBe(0);
  });

  test("a tick has no more places than it needs", () => {
    expect([0, 0.025, 4096, 16_384].map(tickWords)).toEqual(["0", "0.025", "4,096", "16,384"]);
  });
});

describe("the card", () => {
  test("shows the fastest cell with its intervals, the machine and what is doubtful", () => {
    const best = cell({ threads: 8 }, 50, { marks: ["Throttled"] });
    const facts = cardFacts({ ...run([cell({}, 40), best, failed]), marks: ["On battery"] });
    expect(facts?.configuration).toBe("batch 1 · 8 threads · empty context · KV f16 · CPU");
    expect(facts?.figures).toEqual([
      { label: "Decode", value: "50.0", unit: "tok/s", interval: "45.0–55.0" },
    ]);
    expect(facts?.machine).toEqual(["Ryzen, 8 cores, AVX2", "32.0 GiB memory", "No GPU", "Linux"]);
    expect(facts?.marks).toBe("On battery · Throttled");
    expect(facts?.foot).toBe("Quick, median of 3 with its 95 % interval · Tektra 1.0.0");
    expect(facts && cardWords(facts)).toContain("Decode 50.0 tok/s (45.0–55.0)");
  });

  test("is not there when nothing was measured", () => {
    expect(cardFacts(run([failed]))).toBeNull();
  });
});
