-- Benchmark runs and their cells. Times are milliseconds since 1970-01-01 UTC; ids are UUID v7, which sort by time.

CREATE TABLE bench_run (
    id      TEXT PRIMARY KEY NOT NULL,
    state   TEXT NOT NULL CHECK (state IN ('running', 'done', 'cancelled', 'interrupted')),
    -- The process that measures a running one.
    writer  TEXT,
    -- JSON: what was asked; the run in a line; the machine; the marks.
    request TEXT NOT NULL,
    summary TEXT NOT NULL,
    machine TEXT NOT NULL,
    marks   TEXT NOT NULL
) STRICT;

CREATE TABLE bench_cell (
    run_id       TEXT NOT NULL REFERENCES bench_run (id) ON DELETE CASCADE,
    number       INTEGER NOT NULL,
    -- Rounds that are measured: a resumed run goes on after them.
    rounds       INTEGER NOT NULL,
    -- JSON: the cell with every sample.
    cell         TEXT NOT NULL,
    -- What profiles ask for, out of the cell; the speeds of a measured one alone.
    model        TEXT NOT NULL,
    batch        INTEGER NOT NULL,
    threads      INTEGER NOT NULL,
    depth_tokens INTEGER NOT NULL,
    kv           TEXT NOT NULL,
    prefill      REAL,
    decode       REAL,
    PRIMARY KEY (run_id, number)
) STRICT, WITHOUT ROWID;
