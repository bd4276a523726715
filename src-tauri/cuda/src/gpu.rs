//! A GPU: its memory and its kernels, by way of the driver.

use std::{
    collections::HashMap,
    ffi::{CString, c_void},
    sync::{Arc, Mutex},
};

use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};

use crate::GpuError;

/// The kernels' machine code, as `build.rs` made it.
static IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

/// The kernels need the tensor cores' products of 8-bit integers with sums over 32.
const LEAST_CAPABILITY: (i32, i32) = (8, 0);

/// An opened GPU. Everything is done in the order of one stream.
pub(crate) struct Gpu {
    pub(crate) context: Arc<CudaContext>,
    pub(crate) stream: Arc<CudaStream>,
    /// Whether kernels start while the one before them still runs, and wait for it themselves: `begin` in common.cuh.
    starts_early: bool,
    /// Shared memory that a block may have.
    pub(crate) most_shared_bytes: usize,
    /// What computes a block at a time, or several.
    pub(crate) multiprocessors: usize,
    module: sys::CUmodule,
    functions: Mutex<HashMap<String, Function>>,
}

#[derive(Clone, Copy)]
struct Function(sys::CUfunction);

// SAFETY: handles of the driver, which may be used from any thread that has bound the context.
unsafe impl Send for Function {}
// SAFETY: as above; the module is never changed.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

/// How many threads, in blocks of how many, with how much shared memory in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) blocks: [usize; 3],
    pub(crate) threads: usize,
    pub(crate) shared_bytes: usize,
}

impl Grid {
    pub(crate) const fn new(blocks: [usize; 3], threads: usize) -> Self {
        Self { blocks, threads, shared_bytes: 0 }
    }
}

impl Gpu {
    /// Opens GPU number `ordinal` of those that this process sees.
    pub(crate) fn open(ordinal: usize) -> Result<Arc<Self>, GpuError> {
        // cudarc panics where there is no driver.
        // SAFETY: it looks for a library.
        if !unsafe { sys::is_culib_present() } {
            return Err(GpuError::Driver("no NVIDIA driver is installed".into()));
        }
        let count = CudaContext::device_count()?.max(0) as usize;
        if ordinal >= count {
            let words = format!("layers are meant for {} GPUs, and {count} can be used here", ordinal + 1);
            return Err(GpuError::Unsupported(words));
        }
        let context = CudaContext::new(ordinal)?;
        let capability = context.compute_capability()?;
        if capability < LEAST_CAPABILITY {
            let (major, minor) = capability;
            return Err(GpuError::Unsupported(format!("the GPU's compute capability is {major}.{minor}, below 8.0")));
        }
        let stream = context.new_stream()?;
        // SAFETY: the image is whole.
        let module = unsafe { result::module::load_data(IMAGE.as_ptr().cast()) }.map_err(|error| {
            let (major, minor) = capability;
            GpuError::Driver(format!(
                "the engine's kernels do not run on compute capability {major}.{minor} ({error}); build it for this GPU with `make engine-cuda COMPUTE_CAP={major}{minor}`"
            ))
        })?;
        let starts_early = capability >= (9, 0);
        let attribute = |which| context.attribute(which).map(|value| value.max(0) as usize);
        let most_shared_bytes =
            attribute(sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let multiprocessors = attribute(sys::CUdevice_attribute_enum::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        let functions = Mutex::default();
        Ok(Arc::new(Self { context, stream, starts_early, most_shared_bytes, multiprocessors, module, functions }))
    }

    /// Starts a kernel with `arguments`, each the address of a value that lives until this returns.
    ///
    /// # Safety
    /// The arguments are what the kernel takes, and all memory that they name is there.
    pub(crate) unsafe fn launch(&self, name: &str, grid: Grid, arguments: &mut [*mut c_void]) -> Result<(), GpuError> {
        let Function(function) = self.function(name)?;
        let [x, y, z] = grid.blocks.map(|count| count as u32);
        if x == 0 || y == 0 || z == 0 {
            return Ok(());
        }
        // SAFETY: plain numbers, of which none is wrong as 0.
        let mut attribute: sys::CUlaunchAttribute = unsafe { std::mem::zeroed() };
        attribute.id = sys::CUlaunchAttributeID_enum::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
        attribute.value.programmaticStreamSerializationAllowed = 1;
        let config = sys::CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: grid.threads as u32,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: grid.shared_bytes as u32,
            hStream: self.stream.cu_stream(),
            attrs: &raw mut attribute,
            numAttrs: u32::from(self.starts_early),
        };
        // SAFETY: the caller's promise.
        unsafe { sys::cuLaunchKernelEx(&raw const config, function, arguments.as_mut_ptr(), std::ptr::null_mut()) }
            .result()?;
        Ok(())
    }

    fn function(&self, name: &str) -> Result<Function, GpuError> {
        use sys::CUfunction_attribute_enum::{
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MOST_DYNAMIC,
            CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES as STATIC,
        };
        let mut functions = self.functions.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(&function) = functions.get(name) {
            return Ok(function);
        }
        let c_name = CString::new(name).map_err(|error| GpuError::Driver(error.to_string()))?;
        // SAFETY: the module is loaded.
        let function = unsafe { result::module::get_function(self.module, c_name) }
            .map_err(|error| GpuError::Driver(format!("no kernel `{name}`: {error}")))?;
        // More than the usual 48 KiB is there only for who asks.
        // SAFETY: a function of the module.
        unsafe {
            let fixed = result::function::get_function_attribute(function, STATIC)?;
            result::function::set_function_attribute(function, MOST_DYNAMIC, self.most_shared_bytes as i32 - fixed)?;
        }
        functions.insert(name.into(), Function(function));
        Ok(Function(function))
    }

    /// Waits until all that was started is done.
    pub(crate) fn wait(&self) -> Result<(), GpuError> {
        Ok(self.stream.synchronize()?)
    }

    pub(crate) fn bind(&self) -> Result<(), GpuError> {
        Ok(self.context.bind_to_thread()?)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if self.bind().is_ok() {
            // SAFETY: nobody starts its kernels any more. What the driver says then changes nothing.
            let _ = unsafe { result::module::unload(self.module) };
        }
    }
}

/// Memory of a GPU.
pub(crate) struct Memory {
    gpu: Arc<Gpu>,
    pub(crate) address: u64,
    pub(crate) bytes: usize,
}

impl Memory {
    pub(crate) fn new(gpu: &Arc<Gpu>, bytes: usize) -> Result<Self, GpuError> {
        gpu.bind()?;
        // SAFETY: the context is bound.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => GpuError::OutOfMemory { needed_bytes: bytes },
            _ => error.into(),
        })?;
        Ok(Self { gpu: gpu.clone(), address, bytes })
    }

    pub(crate) fn of<T: Copy>(gpu: &Arc<Gpu>, values: &[T]) -> Result<Self, GpuError> {
        let memory = Self::new(gpu, size_of_val(values))?;
        memory.write(0, values)?;
        gpu.wait()?;
        Ok(memory)
    }

    /// Copies plain values to `at` bytes from the start. They must live until the stream has come there: pinned memory,
    /// or followed by [`Gpu::wait`].
    pub(crate) fn write<T: Copy>(&self, at: usize, values: &[T]) -> Result<(), GpuError> {
        assert!(at + size_of_val(values) <= self.bytes, "room for the values");
        if !values.is_empty() {
            // SAFETY: within this memory.
            unsafe { result::memcpy_htod_async(self.address + at as u64, values, self.gpu.stream.cu_stream()) }?;
        }
        Ok(())
    }

    /// Copies plain values back; they are there after [`Gpu::wait`].
    pub(crate) fn read<T: Copy>(&self, values: &mut [T]) -> Result<(), GpuError> {
        assert!(size_of_val(values) <= self.bytes, "as much as there is");
        if !values.is_empty() {
            // SAFETY: within this memory.
            unsafe { result::memcpy_dtoh_async(values, self.address, self.gpu.stream.cu_stream()) }?;
        }
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.gpu.bind().is_ok() {
            // SAFETY: allocated here, freed once; the driver waits for kernels that use it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// Memory of this machine that a GPU copies from and to without a copy in between.
pub(crate) struct Pinned<T> {
    address: *mut T,
    len: usize,
    gpu: Arc<Gpu>,
}

// SAFETY: plain values behind an address that only this has.
unsafe impl<T: Send> Send for Pinned<T> {}

impl<T: Copy + Default> Pinned<T> {
    pub(crate) fn new(gpu: &Arc<Gpu>, len: usize) -> Result<Self, GpuError> {
        gpu.bind()?;
        // SAFETY: the context is bound; the values are set before anybody sees them.
        let address: *mut T = unsafe { result::malloc_host((len * size_of::<T>()).max(1), 0) }?.cast();
        for i in 0..len {
            // SAFETY: within what was allocated.
            unsafe { address.add(i).write(T::default()) };
        }
        Ok(Self { address, len, gpu: gpu.clone() })
    }

    pub(crate) fn values(&mut self) -> &mut [T] {
        // SAFETY: `len` values, all set.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.len) }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        if self.gpu.bind().is_ok() {
            let _ = self.gpu.wait();
            // SAFETY: allocated here, freed once, and no copy is under way.
            let _ = unsafe { result::free_host(self.address.cast()) };
        }
    }
}

impl From<DriverError> for GpuError {
    fn from(error: DriverError) -> Self {
        match error.0 {
            // Where it is not known what for.
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Self::OutOfMemory { needed_bytes: 0 },
            _ => Self::Driver(error.to_string()),
        }
    }
}
