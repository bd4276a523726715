// Products with weights that are plain floats, and activations as they are. They add up in another order than on the CPU:
// results differ in their last bits.
#include "weights.cuh"

// Floats of any kind as float, eight at a time.
struct F32 {
    using Element = float;
    static __device__ __forceinline__ void eight(const float* from, float (&out)[8]) {
        float4 one = reinterpret_cast<const float4*>(from)[0], two = reinterpret_cast<const float4*>(from)[1];
        out[0] = one.x, out[1] = one.y, out[2] = one.z, out[3] = one.w;
        out[4] = two.x, out[5] = two.y, out[6] = two.z, out[7] = two.w;
    }
};
struct F16 {
    using Element = uint16_t;
    static __device__ __forceinline__ void eight(const uint16_t* from, float (&out)[8]) {
        uint4 bits = *reinterpret_cast<const uint4*>(from);
        const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            out[2 * i] = half_of(words[i]);
            out[2 * i + 1] = half_of(words[i] >> 16);
        }
    }
};
struct BF16 {
    using Element = uint16_t;
    static __device__ __forceinline__ void eight(const uint16_t* from, float (&out)[8]) {
        uint4 bits = *reinterpret_cast<const uint4*>(from);
        const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            out[2 * i] = __uint_as_float(words[i] << 16);
            out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
        }
    }
};

// Rows of a matrix of floats that a warp takes together.
template <int N>
constexpr int TOGETHER = N <= 4 ? 2 : 1;
constexpr int FLOAT_WARPS = 4;

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) value = __fadd_rn(value, __shfl_xor_sync(ALL, value, mask));
    return value;
}

// Few rows of activations: a warp has rows of the matrix, and its lanes every 32nd eight columns.
template <typename F, int N>
__device__ __forceinline__ void few_floats(const Matrix& m, const float* values, float* out, int out_stride) {
    constexpr int R = TOGETHER<N>;
    int lane = threadIdx.x % WARP;
    int row = (blockIdx.x * FLOAT_WARPS + threadIdx.x / WARP) * R;
    begin();
    if (row >= m.rows) return;
    float sums[R][N] = {};
#pragma unroll 2
    for (int at = lane * 8; at < m.columns; at += WARP * 8) {
        float weights[R][8];
#pragma unroll
        for (int r = 0; r < R; r++) {
            size_t own = min(row + r, m.rows - 1);
            F::eight(reinterpret_cast<const typename F::Element*>(m.codes) + own * m.columns + at, weights[r]);
        }
#pragma unroll
        for (int n = 0; n < N; n++) {
            float with[8];
            F32::eight(values + (size_t)n * m.columns + at, with);
#pragma unroll
            for (int r = 0; r < R; r++) {
#pragma unroll
                for (int i = 0; i < 8; i++) sums[r][n] = __fmaf_rn(weights[r][i], with[i], sums[r][n]);
            }
        }
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
        for (int n = 0; n < N; n++) {
            float sum = warp_sum(sums[r][n]);
            if (lane == 0 && row + r < m.rows) out[(size_t)n * out_stride + row + r] = sum;
        }
    }
}

// Many, in plain arithmetic: 64 x 64 results by 256 threads, 4 x 4 each.
template <typename F>
__device__ __forceinline__ void many_floats(const Matrix& m, const float* values, int count, float* out, int out_stride) {
    begin();
    constexpr int TILE = 64, DEPTH = 32;
    __shared__ float weights[DEPTH][TILE + 4], activations[DEPTH][TILE + 4];
    int thread = threadIdx.x, first_row = blockIdx.x * TILE, first_column = blockIdx.y * TILE;
    int own = thread / 4, own_at = thread % 4 * 8;
    const typename F::Element* from_weights =
        reinterpret_cast<const typename F::Element*>(m.codes) + (size_t)min(first_row + own, m.rows - 1) * m.columns;
    const float* from_values = values + (size_t)min(first_column + own, count - 1) * m.columns;
    int x = thread % 16 * 4, y = thread / 16 * 4;
    float sums[4][4] = {};
    for (int depth = 0; depth < m.columns; depth += DEPTH) {
        float w[8] = {}, a[8] = {};
        if (depth + own_at < m.columns) {
            F::eight(from_weights + depth + own_at, w);
            F32::eight(from_values + depth + own_at, a);
        }
        __syncthreads();
#pragma unroll
        for (int i = 0; i < 8; i++) {
            weights[own_at + i][own] = w[i];
            activations[own_at + i][own] = a[i];
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float4 row = *reinterpret_cast<float4*>(&weights[k][x]);
            float4 column = *reinterpret_cast<float4*>(&activations[k][y]);
            const float rows[4] = {row.x, row.y, row.z, row.w}, columns[4] = {column.x, column.y, column.z, column.w};
#pragma unroll
            for (int i = 0; i < 4; i++) {
#pragma unroll
                for (int j = 0; j < 4; j++) sums[i][j] = __fmaf_rn(rows[i], columns[j], sums[i][j]);
            }
        }
    }
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) {
            int row = first_row + x + i, column = first_column + y + j;
            if (row < m.rows && column < count) out[(size_t)column * out_stride + row] = sums[i][j];
        }
    }
}

#define FEW_FLOATS(NAME, F, N)                                                                                    \
    extern "C" __global__ void __launch_bounds__(FLOAT_WARPS* WARP)                                               \
        few_##NAME##_##N(Matrix m, Rows a, int, float* out, int out_stride, Rows) {                               \
        few_floats<F, N>(m, a.values, out, out_stride);                                                           \
    }
#define FLOATS(NAME, F)                                                                                           \
    FEW_FLOATS(NAME, F, 1) FEW_FLOATS(NAME, F, 2) FEW_FLOATS(NAME, F, 4) FEW_FLOATS(NAME, F, 8)                   \
    FEW_FLOATS(NAME, F, 16)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256)                                                             \
        many_##NAME(Matrix m, Rows a, int count, float* out, int out_stride) {                                    \
        many_floats<F>(m, a.values, count, out, out_stride);                                                      \
    }
FLOATS(f32, F32)
FLOATS(f16, F16)
FLOATS(bf16, BF16)
