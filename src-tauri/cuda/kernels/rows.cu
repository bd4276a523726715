// What happens to rows of activations between products. A thread has four elements.
#include "common.cuh"

// For each row: stream += more, where there is more; then out = stream / rms(stream) * norm, quantized. With `wanted`,
// row i is made of row wanted[i] of the stream. A block for each row, with shared memory for a row; `columns` is a
// multiple of 32.
extern "C" __global__ void __launch_bounds__(1024)
    norm_rows(float* stream, const float* more, const int* wanted, const float* norm, float epsilon, int columns, Rows out) {
    extern __shared__ __align__(16) float x[];
    __shared__ float factor;
    // On its way before the kernel before this one ends.
    float4 first_norm = {};
    if ((int)threadIdx.x < columns / 4) first_norm = reinterpret_cast<const float4*>(norm)[threadIdx.x];
    begin();
    size_t row = blockIdx.x;
    float4* from = reinterpret_cast<float4*>(stream + (wanted ? (size_t)wanted[row] : row) * columns);
    const float4* added = reinterpret_cast<const float4*>(more + row * columns);
    for (int i = threadIdx.x; i < columns / 4; i += blockDim.x) {
        float4 value = from[i];
        if (more) {
            float4 with = added[i];
            value = make_float4(__fadd_rn(value.x, with.x), __fadd_rn(value.y, with.y), __fadd_rn(value.z, with.z),
                                __fadd_rn(value.w, with.w));
            from[i] = value;
        }
        reinterpret_cast<float4*>(x)[i] = value;
    }
    __syncthreads();
    if (threadIdx.x < WARP) {
        float sum = 0.0f;
#pragma unroll 64
        for (int i = threadIdx.x % LANES; i < columns; i += LANES) sum = __fmaf_rn(x[i], x[i], sum);
        sum = sum_of_lanes(sum);
        if (threadIdx.x == 0) factor = norm_factor(sum, columns, epsilon);
    }
    __syncthreads();
    Rows to = row_of(out, row, columns);
    for (int i = threadIdx.x; i < columns / 4; i += blockDim.x) {
        float4 value = reinterpret_cast<float4*>(x)[i];
        float4 with = i == (int)threadIdx.x ? first_norm : reinterpret_cast<const float4*>(norm)[i];
        value.x = __fmul_rn(__fmul_rn(value.x, factor), with.x);
        value.y = __fmul_rn(__fmul_rn(value.y, factor), with.y);
        value.z = __fmul_rn(__fmul_rn(value.z, factor), with.z);
        value.w = __fmul_rn(__fmul_rn(value.w, factor), with.w);
        put_four(value, 4 * i, to.values, to.codes, to.groups);
    }
}

// stream += more
extern "C" __global__ void add_rows(float* stream, const float* more, long long count) {
    begin();
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) stream[i] = __fadd_rn(stream[i], more[i]);
}

// silu(gate) * up, quantized; a row has the gate's `columns` elements, then those of up. Grid: columns / 4 / block x rows.
extern "C" __global__ void gate_rows(const float* gate_up, int columns, Rows out) {
    begin();
    size_t row = blockIdx.y;
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (4 * i >= columns) return;
    const float* from = gate_up + row * 2 * columns;
    float4 gate = reinterpret_cast<const float4*>(from)[i], up = reinterpret_cast<const float4*>(from + columns)[i];
    float4 value = make_float4(silu_times(gate.x, up.x), silu_times(gate.y, up.y), silu_times(gate.z, up.z),
                               silu_times(gate.w, up.w));
    Rows to = row_of(out, row, columns);
    put_four(value, 4 * i, to.values, to.codes, to.groups);
}
