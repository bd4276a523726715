//! How fast models are as they are used, by the latest benchmarks.

use std::collections::HashMap;

use tektra_models::Speed;

use crate::{Result, Store, store::CellSpeed};

impl Store {
    /// How fast each model was in the latest benchmark that measured it, with one answer at a time, as it is used: on a
    /// GPU if it was, with the most threads, the shortest context and the usual KV cache of that run. Medians where several
    /// cells are that.
    pub(crate) async fn bench_speeds(&self) -> Result<HashMap<String, Speed>> {
        Ok(fastest_use(self.cell_speeds().await?))
    }

    /// The same of what was measured on a GPU, or on the CPU.
    pub(super) async fn bench_speeds_on(&self, gpu: bool) -> Result<HashMap<String, Speed>> {
        let speeds = self.cell_speeds().await?;
        Ok(fastest_use(speeds.into_iter().filter(|speed| speed.on_gpu == gpu).collect()))
    }
}

/// Of each model the cells of its latest run that are as it is used.
fn fastest_use(speeds: Vec<CellSpeed>) -> HashMap<String, Speed> {
    let mut latest: HashMap<String, Vec<CellSpeed>> = HashMap::new();
    for speed in speeds {
        let of_model = latest.entry(speed.model.clone()).or_default();
        if of_model.first().is_none_or(|known| known.run_id == speed.run_id) {
            of_model.push(speed);
        }
    }
    let speed = |cells: Vec<CellSpeed>| {
        let rank = |cell: &CellSpeed| (!cell.on_gpu, u32::MAX - cell.threads, cell.depth_tokens, !cell.is_usual_kv());
        let best = cells.iter().map(rank).min()?;
        let of = |value: fn(&CellSpeed) -> f64| {
            let values: Vec<f64> = cells.iter().filter(|cell| rank(cell) == best).map(value).collect();
            tektra_bench::median(&values)
        };
        Some(Speed {
            prefill_tokens_per_second: of(|cell| cell.prefill)?,
            decode_tokens_per_second: of(|cell| cell.decode)?,
        })
    };
    latest.into_iter().filter_map(|(model, cells)| Some((model, speed(cells)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::fastest_use;
    use crate::store::CellSpeed;

    #[test]
    fn a_models_speed_is_that_of_the_gpu_where_it_was_measured_there() {
        let cell = |run_id: &str, on_gpu, threads, decode| CellSpeed {
            run_id: run_id.into(),
            model: "m".into(),
            threads,
            depth_tokens: 0,
            kv: "f16".into(),
            on_gpu,
            prefill: 10.0 * decode,
            decode,
        };
        let cells =
            [cell("2", false, 8, 20.0), cell("2", false, 1, 4.0), cell("2", true, 8, 300.0), cell("1", true, 8, 9.0)];
        let decode = |cells: Vec<CellSpeed>| fastest_use(cells)["m"].decode_tokens_per_second;
        assert_eq!(decode(cells.to_vec()), 300.0);
        assert_eq!(decode(cells[..2].to_vec()), 20.0);
    }
}
