//! What stands for GPUs where there are none.

use std::convert::Infallible;

use tektra_kernels::Matrix;

use crate::{GpuError, LayerShape, LayerWeights, Step, Then};

/// Cannot come to be.
pub struct Page(Infallible);

/// Cannot come to be.
pub struct Layers(Infallible);

#[allow(missing_docs, reason = "as with GPUs")]
impl Page {
    pub fn try_copy(&self) -> Result<Self, GpuError> {
        match self.0 {}
    }
}

#[allow(missing_docs, reason = "as with GPUs")]
impl Layers {
    pub fn new(_: usize, _: LayerShape, _: usize) -> Result<Self, GpuError> {
        Err(GpuError::Unsupported("this engine was built without kernels for GPUs".into()))
    }

    pub fn push(&mut self, _: &LayerWeights<'_>) -> Result<(), GpuError> {
        match self.0 {}
    }

    pub fn set_output(&mut self, _: &[f32], _: &Matrix<'_>) -> Result<(), GpuError> {
        match self.0 {}
    }

    pub fn make_room(&mut self) -> Result<(), GpuError> {
        match self.0 {}
    }

    pub fn len(&self) -> usize {
        match self.0 {}
    }

    pub fn is_empty(&self) -> bool {
        match self.0 {}
    }

    pub fn weights_bytes(&self) -> u64 {
        match self.0 {}
    }

    pub fn page_bytes(&self) -> usize {
        match self.0 {}
    }

    pub fn page(&self) -> Result<Page, GpuError> {
        match self.0 {}
    }

    pub fn rows(&mut self, _: usize) -> Result<&mut [f32], GpuError> {
        match self.0 {}
    }

    pub fn compute(&mut self, _: &Step<'_>, _: Then<'_>) -> Result<&mut [f32], GpuError> {
        match self.0 {}
    }

    pub fn logits(&mut self, _: &[f32]) -> Result<&mut [f32], GpuError> {
        match self.0 {}
    }
}
