// From the file's blocks to planes: see weights.cuh. The file's formats: `block_*` in ggml-common.h of ggml.
#include "weights.cuh"

struct Planes {
    uint8_t* codes;
    uint8_t* extra;
    uint8_t* scales;
    uint8_t* units;
};

__device__ __forceinline__ void put(uint8_t* to, const uint8_t* from, int count) {
    for (int i = 0; i < count; i++) to[i] = from[i];
}

// The codes of group `group` of a block of 256, and of one of 32.
template <typename F>
__device__ void read_codes(const uint8_t* block, int group, uint8_t (&codes)[32]) {
    constexpr bool SMALL = F::KIND == SCALE || F::KIND == SCALE_OFFSET;
    constexpr int HEAD = F::KIND == SCALE ? 2 : 4;
    for (int e = 0; e < 32; e++) {
        int i = group * 32 + e;
        if constexpr (SMALL && F::BITS == 8) {
            codes[e] = block[HEAD + e];
        } else if constexpr (SMALL) {
            constexpr int NIBBLES = HEAD + (F::BITS == 5 ? 4 : 0);
            codes[e] = block[NIBBLES + e % 16] >> (e / 16 * 4) & 15;
            if constexpr (F::BITS == 5) codes[e] |= (block[HEAD + e / 8] >> (e % 8) & 1) << 4;
        } else if constexpr (F::BITS == 2) {
            codes[e] = block[16 + i / 128 * 32 + e] >> (i / 32 % 4 * 2) & 3;
        } else if constexpr (F::BITS == 3) {
            codes[e] = block[32 + i / 128 * 32 + e] >> (i / 32 % 4 * 2) & 3;
            codes[e] |= (block[e] >> group & 1) << 2;
        } else if constexpr (F::BITS == 6) {
            int part = i / 128, quarter = i / 32 % 4;
            codes[e] = block[part * 64 + quarter % 2 * 32 + e] >> (quarter / 2 * 4) & 15;
            codes[e] |= (block[128 + part * 32 + e] >> (quarter * 2) & 3) << 4;
        } else {
            codes[e] = block[(F::BITS == 4 ? 16 : 48) + i / 64 * 32 + e] >> (group % 2 * 4) & 15;
            if constexpr (F::BITS == 5) codes[e] |= (block[16 + e] >> group & 1) << 4;
        }
    }
}

// The rows of a matrix from `first_row` on, of `groups` groups each and `count` in all, whose blocks `from` begins with.
template <typename F>
__device__ __forceinline__ void pack(const uint8_t* from, Planes to, int first_row, int groups, long long count,
                                     int block_bytes) {
    long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= count) return;
    unsigned row = first_row + (unsigned)(index / groups), of_row = (unsigned)(index % groups);
    constexpr bool SMALL = F::KIND == SCALE || F::KIND == SCALE_OFFSET;
    int group = SMALL ? 0 : (int)(index % 8);
    const uint8_t* block = from + (SMALL ? index : index / 8) * block_bytes;
    size_t at = place_of(row, of_row, groups), of_block = place_of(row, of_row / 8, groups / 8);
    uint8_t codes[32];
    read_codes<F>(block, group, codes);
    uint8_t low[32] = {}, extra[8] = {};
    for (int e = 0; e < 32; e++) {
        if constexpr (F::BITS == 8) low[e] = codes[e];
        if constexpr (F::BITS >= 4 && F::BITS < 8) low[e % 16] |= (codes[e] & 15) << (e / 16 * 4);
        if constexpr (F::BITS < 4) low[e % 8] |= (codes[e] & 3) << (e / 8 * 2);
        if constexpr (F::BITS == 6) extra[e % 8] |= (codes[e] >> 4) << (e / 8 * 2);
        if constexpr (F::BITS == 5) extra[e % 4] |= (codes[e] >> 4) << (e / 4);
        if constexpr (F::BITS == 3) extra[e % 4] |= (codes[e] >> 2) << (e / 4);
    }
    constexpr int LOW = F::BITS == 8 ? 32 : F::BITS >= 4 ? 16 : 8;
    constexpr int EXTRA = F::BITS == 6 ? 8 : F::BITS == 5 || F::BITS == 3 ? 4 : 0;
    put(to.codes + at * LOW, low, LOW);
    put(to.extra + at * EXTRA, extra, EXTRA);
    if constexpr (SMALL) {
        constexpr int HEAD = F::KIND == SCALE ? 2 : 4;
        put(to.scales + at * HEAD, block, HEAD);
    } else if constexpr (F::KIND == SIX_BITS) {
        if (group == 0) put(to.scales + of_block * 16, block, 16);
    } else if constexpr (F::BITS == 3) {
        for (int half = 0; half < 2; half++) {
            int i = 2 * group + half;
            int low_bits = block[96 + i % 8] >> (i / 8 * 4) & 15, high = block[104 + i % 4] >> (i / 4 * 2) & 3;
            to.scales[at * 2 + half] = (uint8_t)((high << 4 | low_bits) - 32);
        }
        if (group == 0) put(to.units + of_block * 2, block + 108, 2);
    } else if constexpr (F::BITS == 6) {
        put(to.scales + at * 2, block + 192 + 2 * group, 2);
        if (group == 0) put(to.units + of_block * 2, block + 208, 2);
    } else {
        put(to.scales + at * 2, block + 2 * group, 2);
        if (group == 0) put(to.units + of_block * 4, block + 80, 4);
    }
}

#define PACK(NAME, F)                                                                                             \
    extern "C" __global__ void pack_##NAME(const uint8_t* from, Planes to, int first_row, int groups,             \
                                           long long count, int block_bytes) {                                   \
        pack<F>(from, to, first_row, groups, count, block_bytes);                                                 \
    }
PACK(q4_0, Q4_0)
PACK(q4_1, Q4_1)
PACK(q5_0, Q5_0)
PACK(q5_1, Q5_1)
PACK(q8_0, Q8_0)
PACK(q2_k, Q2K)
PACK(q3_k, Q3K)
PACK(q4_k, Q4K)
PACK(q5_k, Q5K)
PACK(q6_k, Q6K)
