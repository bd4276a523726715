//! Benchmark runs and their cells.

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{FromRow, Row, SqliteConnection, sqlite::SqliteRow};
use tektra_bench::{BenchCell, BenchRequest, BenchRun, BenchRunSummary, CellOutcome, Kv, MetricName, RunState};

use super::Store;
use crate::{Error, Result};

/// A run with what is needed to go on with it.
#[derive(Clone, Debug)]
pub(crate) struct KeptRun {
    pub(crate) run: BenchRun,
    /// What was asked, its models by name.
    pub(crate) request: BenchRequest,
    /// For each cell the rounds that are measured.
    pub(crate) rounds: Vec<u32>,
}

/// The speeds of a measured cell with one answer at a time.
#[derive(Clone, Debug)]
pub(crate) struct CellSpeed {
    pub(crate) run_id: String,
    pub(crate) model: String,
    pub(crate) threads: u32,
    pub(crate) depth_tokens: u32,
    pub(crate) kv: String,
    pub(crate) on_gpu: bool,
    pub(crate) prefill: f64,
    pub(crate) decode: f64,
}

impl FromRow<'_, SqliteRow> for CellSpeed {
    fn from_row(row: &SqliteRow) -> sqlx::Result<Self> {
        Ok(Self {
            run_id: row.try_get("run_id")?,
            model: row.try_get("model")?,
            threads: row.try_get("threads")?,
            depth_tokens: row.try_get("depth_tokens")?,
            kv: row.try_get("kv")?,
            on_gpu: row.try_get("on_gpu")?,
            prefill: row.try_get("prefill")?,
            decode: row.try_get("decode")?,
        })
    }
}

impl Store {
    /// Saves a run and, of its cells, those at `cells`, all or nothing; `writer` measures it.
    pub(crate) async fn save_bench(&self, kept: &KeptRun, cells: &[usize], writer: &str) -> Result<()> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        write(&mut transaction, kept, cells, writer).await?;
        Ok(transaction.commit().await?)
    }

    /// Every run in a line, the latest first.
    pub(crate) async fn bench_summaries(&self) -> Result<Vec<BenchRunSummary>> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT summary, state FROM bench_run ORDER BY id DESC").fetch_all(&self.readers).await?;
        // One of another version is not shown, and stays.
        Ok(rows.iter().filter_map(|(summary, state)| with_state(summary, state)).collect())
    }

    /// A run, whole.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn bench(&self, id: &str) -> Result<KeptRun> {
        let row: Option<(String, String, String, String, String)> =
            sqlx::query_as("SELECT summary, state, request, machine, marks FROM bench_run WHERE id = ?")
                .bind(id)
                .fetch_optional(&self.readers)
                .await?;
        let (summary, state, request, machine, marks) = row.ok_or(Error::NotFound { what: "benchmark" })?;
        let cells: Vec<(u32, String)> =
            sqlx::query_as("SELECT rounds, cell FROM bench_cell WHERE run_id = ? ORDER BY number")
                .bind(id)
                .fetch_all(&self.readers)
                .await?;
        let summary = with_state(&summary, &state)
            .ok_or_else(|| Error::StoreFailed { reason: "the benchmark is of another version".into() })?;
        let (rounds, cells): (Vec<u32>, Vec<String>) = cells.into_iter().unzip();
        let cells = cells.iter().map(|cell| read(cell)).collect::<Result<_>>()?;
        let run = BenchRun { summary, machine: read(&machine)?, marks: read(&marks)?, cells };
        Ok(KeptRun { run, request: read(&request)?, rounds })
    }

    /// Forgets a run.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub(crate) async fn delete_bench(&self, id: &str) -> Result<()> {
        let done = sqlx::query("DELETE FROM bench_run WHERE id = ?").bind(id).execute(&self.writer).await?;
        if done.rows_affected() == 0 { Err(Error::NotFound { what: "benchmark" }) } else { Ok(()) }
    }

    /// The processes that are noted as measuring.
    pub(crate) async fn bench_writers(&self) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar("SELECT DISTINCT coalesce(writer, '') FROM bench_run WHERE state = 'running'")
            .fetch_all(&self.readers)
            .await?)
    }

    /// Marks the runs that the dead process `writer` left behind.
    pub(crate) async fn interrupt_bench(&self, writer: &str) -> Result<()> {
        sqlx::query(
            "UPDATE bench_run SET state = 'interrupted', writer = NULL WHERE state = 'running' AND coalesce(writer, '') = ?",
        )
        .bind(writer)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// The measured cells with one answer at a time, those of the latest run first.
    pub(crate) async fn cell_speeds(&self) -> Result<Vec<CellSpeed>> {
        Ok(sqlx::query_as(
            "SELECT run_id, model, threads, depth_tokens, kv, prefill, decode,
                 coalesce(json_extract(cell, '$.key.placement') LIKE 'GPU %', 0) AS on_gpu FROM bench_cell
             WHERE batch = 1 AND prefill IS NOT NULL AND decode IS NOT NULL ORDER BY run_id DESC",
        )
        .fetch_all(&self.readers)
        .await?)
    }
}

async fn write(connection: &mut SqliteConnection, kept: &KeptRun, cells: &[usize], writer: &str) -> Result<()> {
    let summary = &kept.run.summary;
    let writer = (summary.state == RunState::Running).then_some(writer);
    sqlx::query(
        "INSERT INTO bench_run (id, state, writer, request, summary, machine, marks) VALUES (?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (id) DO UPDATE SET state = excluded.state, writer = excluded.writer,
                 summary = excluded.summary, machine = excluded.machine, marks = excluded.marks",
    )
    .bind(&summary.id)
    .bind(state_name(summary.state))
    .bind(writer)
    .bind(json(&kept.request)?)
    .bind(json(summary)?)
    .bind(json(&kept.run.machine)?)
    .bind(json(&kept.run.marks)?)
    .execute(&mut *connection)
    .await?;
    for &number in cells {
        let (Some(cell), Some(&rounds)) = (kept.run.cells.get(number), kept.rounds.get(number)) else { continue };
        sqlx::query(
                "INSERT INTO bench_cell (run_id, number, rounds, cell, model, batch, threads, depth_tokens, kv, prefill, decode)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                 ON CONFLICT (run_id, number) DO UPDATE SET rounds = excluded.rounds, cell = excluded.cell,
                     prefill = excluded.prefill, decode = excluded.decode",
            )
            .bind(&summary.id)
            .bind(number as i64)
            .bind(rounds)
            .bind(json(cell)?)
            .bind(&cell.key.model)
            .bind(cell.key.batch)
            .bind(cell.key.threads)
            .bind(cell.key.depth_tokens)
            .bind(cell.key.kv.name())
            .bind(speed(cell, MetricName::PrefillTokensPerSecond))
            .bind(speed(cell, MetricName::DecodeTokensPerSecond))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

impl CellSpeed {
    /// Whether keys and values are kept as they usually are.
    pub(crate) fn is_usual_kv(&self) -> bool {
        self.kv == Kv::default().name()
    }
}

fn speed(cell: &BenchCell, name: MetricName) -> Option<f64> {
    let measured = cell.outcome == CellOutcome::Measured;
    cell.metrics.iter().find(|metric| measured && metric.name == name)?.median
}

fn state_name(state: RunState) -> &'static str {
    match state {
        RunState::Running => "running",
        RunState::Done => "done",
        RunState::Cancelled => "cancelled",
        RunState::Interrupted => "interrupted",
    }
}

/// The row's state counts: a dead process could not write the other.
fn with_state(summary: &str, state: &str) -> Option<BenchRunSummary> {
    let summary: BenchRunSummary = serde_json::from_str(summary).ok()?;
    let all = [RunState::Running, RunState::Done, RunState::Cancelled, RunState::Interrupted];
    let state = all.into_iter().find(|known| state_name(*known) == state)?;
    Some(BenchRunSummary { state, ..summary })
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::StoreFailed { reason: error.to_string() })
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| Error::StoreFailed { reason: error.to_string() })
}
