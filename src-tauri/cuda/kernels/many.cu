// Products of activations with quantized weights where rows are many: bound by arithmetic.
#include "tiles.cuh"
#include "weights.cuh"

// The bits of 1.5 * 2^23: a whole number below 2^22 added to them is one added to that float.
constexpr int WHOLE_BITS = 0x4b400000;
constexpr float WHOLE = 12582912.0f;

// A block's tile of a product: rows of the matrix x rows of activations, so many groups of columns at a time.
constexpr int TILE_M = 128;
#ifndef STEP_GROUPS
#error "build.rs says how many groups of columns there is room for"
#endif
constexpr int STEP = STEP_GROUPS;
// Bytes from one row of codes to the next in shared memory: eight rows lie in different banks.
constexpr int PITCH = STEP * GROUP + 16;

template <typename F, int TILE_N>
struct Shared {
    uint8_t weights[2][TILE_M * PITCH];
    uint8_t activations[2][TILE_N * PITCH];
    Group groups[2][STEP][TILE_N];
    // Unit and offset unit; rows eight apart lie side by side, since a thread has both.
    float2 scales[2][STEP][TILE_M];
    // Factors and minimums, a byte each.
    uint32_t factors[F::HALVES ? 2 : 1][F::HALVES ? STEP : 1][F::HALVES ? TILE_M : 1];
};

// Brings 16 bytes into shared memory while others multiply, or zeros.
__device__ __forceinline__ void bring(void* to, const void* from, bool here) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((unsigned)__cvta_generic_to_shared(to)), "l"(from),
                 "r"(here ? 16 : 0));
}

// Where the scales of row `row` of a tile lie: those of rows 0, 8, 1, 9 and so on.
__device__ __forceinline__ int beside(int row) { return row / 16 * 16 + row % 8 * 2 + row / 8 % 2; }

// All rows of activations times all rows of the matrix, in tiles of the tensor cores; each result adds up group after
// group, as on the CPU. 256 threads: 4 x 2 warps, each 32 x TILE_N / 2.
template <typename F, int TILE_N>
__device__ __forceinline__ void many(const Matrix& m, const int8_t* codes, const Group* groups, int count, float* out,
                                     int out_stride) {
    extern __shared__ __align__(16) uint8_t memory[];
    auto& shared = *reinterpret_cast<Shared<F, TILE_N>*>(memory);
    constexpr int COLUMNS = TILE_N / 2 / 8, OWN = STEP * TILE_M / 256;
    int thread = threadIdx.x, lane = thread % WARP, warp = thread / WARP;
    int tile_row = warp % 4 * 32, tile_column = warp / 4 * (TILE_N / 2);
    int first_row = blockIdx.x * TILE_M, first_column = blockIdx.y * TILE_N;
    int row_groups = m.columns / GROUP;

    begin();
    // What a thread brings: OWN groups of a row of weights, whose rows lie side by side, and a group of a row of activations,
    // whose rows lie one after the other.
    int own = thread % TILE_M, own_group = thread / TILE_M, own_column = thread / STEP, column_group = thread % STEP;
    bool has_row = first_row + own < m.rows;
    bool has_column = own_column < TILE_N && first_column + own_column < count;
    unsigned own_row = min(first_row + own, m.rows - 1);
    size_t own_activations = (size_t)min(first_column + own_column, count - 1) * row_groups + column_group;
    Loaded<F> loaded[OWN];
    auto load = [&](int stage, int step) {
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            int group = step + own_group + 2 * i;
            if (group < row_groups) loaded[i] = InRow<F>(m, own_row, group).load(0);
        }
        if (own_column < TILE_N) {
            bool here = has_column && step + column_group < row_groups;
            size_t at = here ? own_activations + step : 0;
            uint8_t* to = shared.activations[stage] + own_column * PITCH + column_group * GROUP;
            bring(to, codes + at * GROUP, here);
            bring(to + 16, codes + at * GROUP + 16, here);
            bring(&shared.groups[stage][column_group][own_column], groups + at, here);
        }
    };
    auto store = [&](int stage, int step) {
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            int group = own_group + 2 * i;
            int words[8] = {};
            Scales scales = {};
            if (has_row && step + group < row_groups) {
                codes_of<F>(loaded[i], words);
                scales = scales_of<F>(loaded[i], step + group);
            }
            int4* to = reinterpret_cast<int4*>(shared.weights[stage] + own * PITCH + group * GROUP);
            to[0] = make_int4(words[0], words[1], words[2], words[3]);
            to[1] = make_int4(words[4], words[5], words[6], words[7]);
            shared.scales[stage][group][beside(own)] = make_float2(scales.unit, scales.offset_unit);
            if constexpr (F::HALVES) {
                shared.factors[stage][group][own] = bytes_of(scales);
            }
        }
        asm volatile("cp.async.wait_all;" ::: "memory");
    };

    float sums[2][COLUMNS][4] = {};
    load(0, 0);
    store(0, 0);
    __syncthreads();
    int stage = 0;
    for (int step = 0; step < row_groups; step += STEP) {
        int next = step + STEP;
        // The other stage: everybody has left it at the last barrier.
        if (next < row_groups) load(1 - stage, next);
#pragma unroll
        for (int k = 0; k < STEP; k++) {
            int a[2][4];
            float2 scales[2][2];
            uint32_t factors[2][2];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                // Rows 0 to 7 and 8 to 15 of the first 16 bytes, then of the last.
                int row = tile_row + 16 * i;
                load_matrices(a[i], shared.weights[stage] + (row + lane % 16) * PITCH + k * GROUP + lane / 16 * 16);
                float4 both = *reinterpret_cast<const float4*>(&shared.scales[stage][k][row + lane / 4 * 2]);
                scales[i][0] = make_float2(both.x, both.y);
                scales[i][1] = make_float2(both.z, both.w);
                if constexpr (F::HALVES) {
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        factors[i][half] = shared.factors[stage][k][row + lane / 4 + 8 * half];
                    }
                }
            }
            int b_of[COLUMNS][2];
#pragma unroll
            for (int j = 0; j < COLUMNS; j += 2) {
                // Columns 0 to 7, first and last 16 bytes, then columns 8 to 15.
                int of_two[4], column = tile_column + j * 8 + lane / 16 * 8 + lane % 8;
                load_matrices(of_two, shared.activations[stage] + column * PITCH + k * GROUP + lane / 8 % 2 * 16);
                b_of[j][0] = of_two[0], b_of[j][1] = of_two[1];
                b_of[j + 1][0] = of_two[2], b_of[j + 1][1] = of_two[3];
            }
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) {
                const int(&b)[2] = b_of[j];
                int pair = tile_column + j * 8 + lane % 4 * 2;
                const Group of_columns[2] = {shared.groups[stage][k][pair], shared.groups[stage][k][pair + 1]};
                int sums_of[2];
#pragma unroll
                for (int e = 0; e < 2; e++) sums_of[e] = F::HALVES ? of_columns[e].half_sums : of_columns[e].sum;
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    int products[F::HALVES ? 2 : 1][4];
                    if constexpr (F::HALVES) {
                        int first[2], second[2];
#pragma unroll
                        for (int e = 0; e < 2; e++) {
                            first[e] = -F::ZERO * (int)(int16_t)(sums_of[e] & 0xffff);
                            second[e] = -F::ZERO * (sums_of[e] >> 16);
                        }
                        mma_k16(products[0], a[i][0], a[i][1], b[0], first[0], first[1]);
                        mma_k16(products[1], a[i][2], a[i][3], b[1], second[0], second[1]);
                    } else {
                        const int c[2] = {WHOLE_BITS - F::ZERO * sums_of[0], WHOLE_BITS - F::ZERO * sums_of[1]};
                        mma_k32(products[0], a[i], b, c[0], c[1]);
                    }
#pragma unroll
                    for (int e = 0; e < 4; e++) {
                        float2 of_row = scales[i][e / 2];
                        Share share = {};
                        if constexpr (F::HALVES) {
                            Scales with = {};
                            set_factors<F>(with, factors[i][e / 2]);
                            const int whole[2] = {products[0][e], products[1][e]};
                            share = share_of<F>(whole, with, sums_of[e % 2]);
                        } else {
                            share.products = __fsub_rn(__int_as_float(products[0][e]), WHOLE);
                        }
                        const Group& of_column = of_columns[e % 2];
                        sums[i][j][e] = accumulate<F>(sums[i][j][e], share, of_row.x, of_row.y, of_column.scale,
                                                      of_column.scaled_sum);
                    }
                }
            }
        }
        if (next < row_groups) {
            store(1 - stage, next);
            __syncthreads();
            stage = 1 - stage;
        }
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
#pragma unroll
        for (int j = 0; j < COLUMNS; j++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int row = first_row + tile_row + lane / 4 + 16 * i + e / 2 * 8;
                int column = first_column + tile_column + j * 8 + lane % 4 * 2 + e % 2;
                if (row < m.rows && column < count) out[(size_t)column * out_stride + row] = sums[i][j][e];
            }
        }
    }
}

#define MANY(NAME, F)                                                                                             \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                          \
        many_##NAME(Matrix m, Rows a, int count, float* out, int out_stride) {                                    \
        many<F, 64>(m, a.codes, a.groups, count, out, out_stride);                                               \
    }
MANY(q4_0, Q4_0)
MANY(q4_1, Q4_1)
MANY(q5_0, Q5_0)
MANY(q5_1, Q5_1)
MANY(q8_0, Q8_0)
MANY(q2_k, Q2K)
MANY(q3_k, Q3K)
MANY(q4_k, Q4K)
MANY(q5_k, Q5K)
MANY(q6_k, Q6K)
