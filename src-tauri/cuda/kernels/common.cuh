// What all kernels share: rows of activations as 8-bit codes, and reductions within a warp.
#pragma once
#include <cuda_fp16.h>
#include <stdint.h>

constexpr int WARP = 32;
// Elements of activations that share one scale.
constexpr int GROUP = 32;
constexpr unsigned ALL = 0xffffffffu;

// What belongs to 32 codes of activations; 16 bytes, one load.
struct __align__(16) Group {
    // A code stands for so much.
    float scale;
    // scale * sum
    float scaled_sum;
    // Of all 32 codes.
    int sum;
    // Of the first and the last 16 codes, in 16 bits each.
    int half_sums;
};

// A kernel starts while the one before it still runs, and may then do what does not depend on that. `begin` waits until
// it is done, and lets the next kernel start.
__device__ __forceinline__ void begin() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) value = fmaxf(value, __shfl_xor_sync(ALL, value, mask));
    return value;
}

// e to the power of `x`, as the CPU's kernels compute it, to the last bit: `Simd::exp` of tektra-kernels.
__device__ __forceinline__ float exp_of(float x) {
    x = fminf(fmaxf(x, -87.0f), 88.0f);
    float whole = rintf(__fmul_rn(x, 1.44269504088896341f));
    float rest = __fmaf_rn(whole, -0.6933594f, x);
    rest = __fmaf_rn(whole, 2.1219444e-4f, rest);
    float sum = 1.9875691e-4f;
    sum = __fmaf_rn(sum, rest, 1.3981999e-3f);
    sum = __fmaf_rn(sum, rest, 8.333452e-3f);
    sum = __fmaf_rn(sum, rest, 4.1665796e-2f);
    sum = __fmaf_rn(sum, rest, 1.6666665e-1f);
    sum = __fmaf_rn(sum, rest, 0.5f);
    sum = __fadd_rn(__fmaf_rn(__fmul_rn(sum, rest), rest, rest), 1.0f);
    return __fmul_rn(sum, __int_as_float(((int)whole + 127) << 23));
}

__device__ __forceinline__ float silu_times(float gate, float up) {
    float divisor = __fadd_rn(exp_of(__fmul_rn(gate, -1.0f)), 1.0f);
    return __fmul_rn(__fdiv_rn(gate, divisor), up);
}

// The CPU's kernels add up in 16 lanes, and then the lanes: `sum` is that of lane `threadIdx.x % 16`, and the lowest of
// each 16 threads gets the result.
constexpr int LANES = 16;
__device__ __forceinline__ float sum_of_lanes(float sum) {
#pragma unroll
    for (int apart = LANES / 2; apart > 0; apart /= 2) sum = __fadd_rn(sum, __shfl_down_sync(ALL, sum, apart, LANES));
    return sum;
}

// 1 / the root of the mean square, given the sum of squares.
__device__ __forceinline__ float norm_factor(float sum, int count, float epsilon) {
    return __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(__fdiv_rn(sum, (float)count), epsilon)));
}

// The nearest code where the largest magnitude is 127 / `inverse`; as the CPU's kernels round.
__device__ __forceinline__ int code_of(float value, float inverse) {
    return (int)fminf(fmaxf(rintf(__fmul_rn(value, inverse)), -127.0f), 127.0f);
}

__device__ __forceinline__ float inverse_of(float largest) {
    return largest > 0.0f ? __fdiv_rn(127.0f, largest) : 0.0f;
}

// Of codes whose largest stands for `largest`, and whose halves come to `first` and `second`.
__device__ __forceinline__ Group group_of(float largest, int first, int second) {
    Group out;
    out.scale = __fdiv_rn(largest, 127.0f);
    out.sum = first + second;
    out.scaled_sum = __fmul_rn(out.scale, (float)out.sum);
    out.half_sums = (first & 0xffff) | (second << 16);
    return out;
}

// Writes four values of a row, from element `at` on, and quantizes them with those of the seven lanes beside this one,
// which have the rest of the group.
__device__ __forceinline__ void put_four(float4 values, int at, float* to_values, int8_t* codes, Group* groups) {
    if (to_values) *reinterpret_cast<float4*>(to_values + at) = values;
    // The other lanes of the warp may have nothing to do.
    const unsigned eight = 0xffu << (threadIdx.x & 24);
    float largest = fmaxf(fmaxf(fabsf(values.x), fabsf(values.y)), fmaxf(fabsf(values.z), fabsf(values.w)));
#pragma unroll
    for (int mask = 4; mask > 0; mask /= 2) largest = fmaxf(largest, __shfl_xor_sync(eight, largest, mask));
    float inverse = inverse_of(largest);
    int x = code_of(values.x, inverse), y = code_of(values.y, inverse);
    int z = code_of(values.z, inverse), w = code_of(values.w, inverse);
    *reinterpret_cast<int*>(codes + at) = (x & 255) | (y & 255) << 8 | (z & 255) << 16 | w << 24;
    int half = x + y + z + w;
    half += __shfl_xor_sync(eight, half, 1);
    half += __shfl_xor_sync(eight, half, 2);
    int other = __shfl_xor_sync(eight, half, 4);
    if (at % GROUP == 0) groups[at / GROUP] = group_of(largest, half, other);
}

// Writes one value of a row, element `at`, and quantizes it with those of the other lanes, which have the rest of the group.
__device__ __forceinline__ void put_one(float value, int at, float* to_values, int8_t* codes, Group* groups) {
    if (to_values) to_values[at] = value;
    float largest = warp_max(fabsf(value));
    int code = code_of(value, inverse_of(largest)), half = code;
    codes[at] = (int8_t)code;
#pragma unroll
    for (int mask = 1; mask < 16; mask *= 2) half += __shfl_xor_sync(ALL, half, mask);
    int other = __shfl_xor_sync(ALL, half, 16);
    if (at % GROUP == 0) groups[at / GROUP] = group_of(largest, half, other);
}

// Whether this is the last of `count` who come here, each with what its block wrote before; the next round begins anew.
__device__ __forceinline__ bool is_last_of(unsigned count, unsigned* arrived) {
    unsigned before;
    asm volatile("atom.acq_rel.gpu.global.inc.u32 %0, [%1], %2;" : "=r"(before) : "l"(arrived), "r"(count - 1) : "memory");
    return before == count - 1;
}

// Rows of activations.
struct Rows {
    float* values; // rows x columns; null where nobody reads them
    int8_t* codes; // rows x columns
    Group* groups; // rows x columns / 32
};

// Row `row` of rows of `columns` elements.
__device__ __forceinline__ Rows row_of(const Rows& rows, size_t row, int columns) {
    return {rows.values ? rows.values + row * columns : nullptr, rows.codes + row * columns,
            rows.groups + row * (columns / GROUP)};
}
