//! The layers that lie on GPUs.

use tektra_cuda::{GpuError, LayerShape, LayerWeights, Layers, Step, StepRun, Then};
use tektra_kernels::KvType;

use crate::{LoadError, file::ModelFile, forward::Run, weights::Shape};

/// Copies the model's first layers to GPUs, `counts[i]` of them to number i of those that this process sees, and its
/// output to the first.
pub(crate) fn load(
    file: &ModelFile,
    shape: &Shape,
    kv: KvType,
    counts: &[usize],
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Layers>, LoadError> {
    let sizes = LayerShape {
        dim: shape.dim,
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        head_dim: shape.head_dim,
        feed_forward: shape.feed_forward,
        epsilon: shape.epsilon,
        rotated: 2 * shape.frequencies.len(),
        pairs: shape.pairs,
        kv,
    };
    let mut gpus = Vec::with_capacity(counts.len());
    let mut next = 0;
    for (ordinal, &count) in counts.iter().enumerate() {
        // No more than there are, whatever was asked for.
        let count = count.min(shape.layers - next);
        let mut gpu = Layers::new(ordinal, sizes, count)?;
        if ordinal == 0 {
            let output = file.output(shape)?;
            gpu.set_output(&file.norm("output_norm.weight", shape.dim)?, &file.matrix(&output))?;
        }
        for index in next..next + count {
            let tensors = file.layer(shape, index)?;
            let [query_bias, key_bias, value_bias] = &tensors.biases;
            gpu.push(&LayerWeights {
                attention_norm: &tensors.attention_norm,
                products: tensors.products.each_ref().map(|weight| file.matrix(weight)),
                biases: [query_bias.as_deref(), key_bias.as_deref(), value_bias.as_deref()],
                query_norm: tensors.query_norm.as_deref(),
                key_norm: tensors.key_norm.as_deref(),
                output: file.matrix(&tensors.output),
                feed_forward_norm: &tensors.feed_forward_norm,
                gate_up: tensors.gate_up.each_ref().map(|weight| file.matrix(weight)),
                down: file.matrix(&tensors.down),
            })?;
            file.release();
            progress(file.bytes_until_layer(shape, index + 1));
        }
        next += gpu.len();
        gpu.make_room()?;
        gpus.push(gpu);
    }
    Ok(gpus)
}

/// New tokens as the GPUs take them: cosine and sine of each pair of each row, and how many runs were generated.
pub(crate) struct NewTokens<'a, 'b> {
    runs: &'a [Run<'b>],
    generated: usize,
    angles: Vec<f32>,
}

impl<'a, 'b> NewTokens<'a, 'b> {
    pub(crate) fn new(runs: &'a [Run<'b>], angles: &[Vec<[f32; 2]>]) -> Self {
        let generated = runs.iter().take_while(|run| run.generated).count();
        Self { runs, generated, angles: angles.iter().flatten().flatten().copied().collect() }
    }

    /// Takes the rows of `gpu`, number `number`, through its layers.
    pub(crate) fn compute<'gpu>(
        &self,
        gpu: &'gpu mut Layers,
        number: usize,
        then: Then<'_>,
    ) -> Result<&'gpu mut [f32], GpuError> {
        let mut runs = Vec::with_capacity(self.runs.len());
        for run in self.runs {
            let pages = run.cache.pages.iter().map(|page| &page.gpus[number]).collect();
            runs.push(StepRun { first_position: run.cache.tokens.len(), tokens: run.tokens.len(), pages });
        }
        gpu.compute(&Step { generated: self.generated, runs: &runs, angles: &self.angles }, then)
    }
}
