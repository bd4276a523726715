// How weights lie in the GPU's memory, and how 32 of them become words of four codes.
//
// A matrix of quantized numbers is up to four planes: codes (the low 8, 4 or 2 bits of each), extra bits (2 or 1 of
// each), scales and units. In a plane the same group of 32 rows lies side by side, then their next group, so that a lane
// can take a row and a warp reads without gaps: `place_of`. In a group of 32 elements:
//   8 bits: 32 signed bytes.
//   4 bits: byte b has element b in its low half and element 16 + b in its high one.
//   2 bits: byte b has elements b, 8 + b, 16 + b and 24 + b, from the low bits on.
//   1 bit:  bit i of byte k belongs to element 4 i + k.
#pragma once
#include "common.cuh"

// How codes become numbers.
enum Kind {
    // A half-precision scale for each 32.
    SCALE,
    // A half-precision scale and an offset for each 32.
    SCALE_OFFSET,
    // For each 256: two half-precision units, and eight scales and eight minimums of 6 bits, as in the file.
    SIX_BITS,
    // An 8-bit scale for each 16, times a half-precision unit for each 256.
    SIXTEENS,
    // A 4-bit scale and a 4-bit minimum for each 16, times two half-precision units for each 256.
    SIXTEENS_OFFSET,
};

struct Matrix {
    const uint8_t* codes;
    const uint8_t* extra;
    const uint8_t* scales;
    const uint8_t* units;
    int rows;
    int columns;
};

// Where unit `unit` of `units` of a row lies, counted in units.
__device__ __forceinline__ size_t place_of(unsigned row, unsigned unit, unsigned units) {
    return ((size_t)(row / WARP) * units + unit) * WARP + row % WARP;
}

template <int BITS_, Kind KIND_, int ZERO_>
struct Format {
    static constexpr int BITS = BITS_;
    static constexpr Kind KIND = KIND_;
    // What stands for nothing among the codes.
    static constexpr int ZERO = ZERO_;
    static constexpr bool HALVES = KIND_ == SIXTEENS || KIND_ == SIXTEENS_OFFSET;
    static constexpr bool AFFINE = KIND_ == SCALE_OFFSET || KIND_ == SIX_BITS || KIND_ == SIXTEENS_OFFSET;
};
using Q4_0 = Format<4, SCALE, 8>;
using Q4_1 = Format<4, SCALE_OFFSET, 0>;
using Q5_0 = Format<5, SCALE, 16>;
using Q5_1 = Format<5, SCALE_OFFSET, 0>;
using Q8_0 = Format<8, SCALE, 0>;
using Q2K = Format<2, SIXTEENS_OFFSET, 0>;
using Q3K = Format<3, SIXTEENS, 4>;
using Q4K = Format<4, SIX_BITS, 0>;
using Q5K = Format<5, SIX_BITS, 0>;
using Q6K = Format<6, SIXTEENS, 32>;

// What turns a group's whole numbers into its share of a result.
struct Scales {
    // What products are times, and offsets.
    float unit, offset_unit;
    // Where scales hold for 16: of each half, in whole numbers.
    int factors[2], minimums[2];
};

// The bytes of a group as loaded, so that many loads are under way before the first is used.
template <typename F>
struct Loaded {
    uint4 low[F::BITS == 8 ? 2 : 1];
    uint2 extra;
    uint4 scales;
    uint32_t units;
};

// A row of a matrix, from one of its groups on. The offsets of a lane's next groups are constants.
template <typename F>
struct InRow {
    // Bytes of a group in each plane; of scales, those of eight groups where they are packed.
    static constexpr int CODES = 4 * F::BITS >= 32 ? 32 : F::BITS >= 4 ? 16 : 8;
    static constexpr int EXTRA = F::BITS == 6 ? 8 : 4;
    static constexpr int SCALES = F::KIND == SIX_BITS ? 16 : F::KIND == SCALE_OFFSET ? 4 : 2;
    static constexpr int UNITS = F::KIND == SIXTEENS_OFFSET ? 4 : 2;
    const uint8_t *codes, *extra, *scales, *units;

    __device__ __forceinline__ InRow(const Matrix& m, unsigned row, unsigned group) {
        unsigned groups = (unsigned)m.columns / GROUP;
        size_t at = place_of(row, group, groups), of_block = place_of(row, group / 8, groups / 8);
        codes = m.codes + at * CODES;
        extra = m.extra + at * EXTRA;
        scales = m.scales + (F::KIND == SIX_BITS ? of_block : at) * SCALES;
        units = m.units + of_block * UNITS;
    }

    // The group `i` further on, in the same 256 elements. What those have once is taken from `beside` where that is another
    // group of them.
    __device__ __forceinline__ Loaded<F> load(int i, const Loaded<F>* beside = nullptr) const {
        Loaded<F> out;
        const uint8_t* from = codes + i * WARP * CODES;
        if constexpr (F::BITS == 8) {
            out.low[0] = __ldg(reinterpret_cast<const uint4*>(from));
            out.low[1] = __ldg(reinterpret_cast<const uint4*>(from) + 1);
        } else if constexpr (F::BITS >= 4) {
            out.low[0] = __ldg(reinterpret_cast<const uint4*>(from));
        } else {
            uint2 two = __ldg(reinterpret_cast<const uint2*>(from));
            out.low[0].x = two.x;
            out.low[0].y = two.y;
        }
        const uint8_t* more = extra + i * WARP * EXTRA;
        if constexpr (F::BITS == 6) {
            out.extra = __ldg(reinterpret_cast<const uint2*>(more));
        } else if constexpr (F::BITS == 5 || F::BITS == 3) {
            out.extra.x = __ldg(reinterpret_cast<const uint32_t*>(more));
        }
        const uint8_t* scale = scales + i * WARP * SCALES;
        if constexpr (F::KIND == SIX_BITS) {
            out.scales = beside ? beside->scales : __ldg(reinterpret_cast<const uint4*>(scales));
        } else if constexpr (F::KIND == SCALE_OFFSET) {
            out.scales.x = __ldg(reinterpret_cast<const uint32_t*>(scale));
        } else {
            out.scales.x = __ldg(reinterpret_cast<const uint16_t*>(scale));
        }
        if constexpr (F::KIND == SIXTEENS) {
            out.units = beside ? beside->units : __ldg(reinterpret_cast<const uint16_t*>(units));
        } else if constexpr (F::KIND == SIXTEENS_OFFSET) {
            out.units = beside ? beside->units : __ldg(reinterpret_cast<const uint32_t*>(units));
        }
        return out;
    }
};

__device__ __forceinline__ float half_of(uint32_t bits) {
    return __half2float(__ushort_as_half((unsigned short)(bits & 0xffff)));
}

// Words of four codes, elements 4 i..4 i + 4 in word i; what stands for nothing is F::ZERO.
template <typename F>
__device__ __forceinline__ void codes_of(const Loaded<F>& from, int (&words)[8]) {
    const uint32_t low[4] = {from.low[0].x, from.low[0].y, from.low[0].z, from.low[0].w};
    if constexpr (F::BITS == 8) {
        const uint32_t more[4] = {from.low[1].x, from.low[1].y, from.low[1].z, from.low[1].w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            words[i] = (int)low[i];
            words[4 + i] = (int)more[i];
        }
    } else if constexpr (F::BITS >= 4) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            words[i] = (int)(low[i] & 0x0f0f0f0fu);
            words[4 + i] = (int)(low[i] >> 4 & 0x0f0f0f0fu);
        }
    } else {
#pragma unroll
        for (int i = 0; i < 8; i++) words[i] = (int)(low[i % 2] >> (i / 2 * 2) & 0x03030303u);
    }
    if constexpr (F::BITS == 6) {
        const uint32_t extra[2] = {from.extra.x, from.extra.y};
#pragma unroll
        for (int i = 0; i < 8; i++) words[i] |= (int)((extra[i % 2] >> (i / 2 * 2) & 0x03030303u) << 4);
    } else if constexpr (F::BITS == 5 || F::BITS == 3) {
#pragma unroll
        for (int i = 0; i < 8; i++) words[i] |= (int)((from.extra.x >> i & 0x01010101u) << (F::BITS - 1));
    }
}

template <typename F>
__device__ __forceinline__ Scales scales_of(const Loaded<F>& from, int group) {
    Scales out = {};
    if constexpr (F::KIND == SCALE) {
        out.unit = half_of(from.scales.x);
    } else if constexpr (F::KIND == SCALE_OFFSET) {
        out.unit = half_of(from.scales.x);
        out.offset_unit = half_of(from.scales.x >> 16);
    } else if constexpr (F::KIND == SIX_BITS) {
        int i = group % 8, shift = 8 * (i % 4);
        uint32_t a = from.scales.y >> shift, b = from.scales.z >> shift, c = from.scales.w >> shift;
        uint32_t factor = i < 4 ? a & 63 : (c & 15) | (a >> 2 & 0x30);
        uint32_t minimum = i < 4 ? b & 63 : (c >> 4 & 15) | (b >> 2 & 0x30);
        out.unit = __fmul_rn(half_of(from.scales.x), (float)factor);
        out.offset_unit = __fmul_rn(-half_of(from.scales.x >> 16), (float)minimum);
    } else if constexpr (F::KIND == SIXTEENS) {
        out.unit = half_of(from.units);
        out.factors[0] = (int8_t)(from.scales.x & 0xff);
        out.factors[1] = (int8_t)(from.scales.x >> 8 & 0xff);
    } else {
        out.unit = half_of(from.units);
        out.offset_unit = -half_of(from.units >> 16);
        out.factors[0] = from.scales.x & 15;
        out.factors[1] = from.scales.x >> 8 & 15;
        out.minimums[0] = from.scales.x >> 4 & 15;
        out.minimums[1] = from.scales.x >> 12 & 15;
    }
    return out;
}

// The factors and minimums of a group's halves, a byte each.
__device__ __forceinline__ uint32_t bytes_of(const Scales& scales) {
    return (scales.factors[0] & 255) | (scales.factors[1] & 255) << 8 | scales.minimums[0] << 16 | scales.minimums[1] << 24;
}
template <typename F>
__device__ __forceinline__ void set_factors(Scales& scales, uint32_t bytes) {
    scales.factors[0] = F::AFFINE ? bytes & 255 : (int)(int8_t)(bytes & 255);
    scales.factors[1] = F::AFFINE ? bytes >> 8 & 255 : (int)(int8_t)(bytes >> 8 & 255);
    scales.minimums[0] = bytes >> 16 & 255;
    scales.minimums[1] = bytes >> 24;
}

// A group's share of a result before it is scaled by the activations.
struct Share {
    // Products of codes and activations, less what stands for nothing.
    float products;
    // Where minimums hold for 16: what they come to.
    float offsets;
};

// `whole` are the products of codes and activations of each half; where scales hold for 32, the first has all.
template <typename F>
__device__ __forceinline__ Share share_of(const int (&whole)[2], const Scales& scales, int half_sums) {
    Share out = {};
    if constexpr (F::HALVES) {
        out.products = (float)(whole[0] * scales.factors[0] + whole[1] * scales.factors[1]);
        if constexpr (F::AFFINE) {
            int first = (int16_t)(half_sums & 0xffff), second = half_sums >> 16;
            out.offsets = (float)(first * scales.minimums[0] + second * scales.minimums[1]);
        }
    } else {
        out.products = (float)whole[0];
    }
    return out;
}

// All that a group adds to a result where minimums hold for 16.
__device__ __forceinline__ float whole_share(const Share& share, float unit, float offset_unit, float scale) {
    float offset = __fmul_rn(share.offsets, __fmul_rn(offset_unit, scale));
    return __fmaf_rn(share.products, __fmul_rn(unit, scale), offset);
}

// Adds a group's share to a result: the same roundings in the same order as on the CPU.
template <typename F>
__device__ __forceinline__ float accumulate(float sum, const Share& share, float unit, float offset_unit, float scale,
                                            float scaled_sum) {
    if constexpr (F::HALVES && F::AFFINE) {
        return __fadd_rn(sum, whole_share(share, unit, offset_unit, scale));
    }
    sum = __fmaf_rn(share.products, __fmul_rn(unit, scale), sum);
    return F::AFFINE ? __fmaf_rn(offset_unit, scaled_sum, sum) : sum;
}
