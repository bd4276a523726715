// Products of activations with quantized weights: few rows bound by memory, and many bound by arithmetic.
#include "weights.cuh"

// Warps of a block that multiply, W, and those that add up what they found.
template <int N>
constexpr int ADDERS = N <= 2 ? 1 : N <= 8 ? 2 : 4;

// Groups that a lane has under way at once, and groups that a block multiplies before they are added up: as many as there
// is room for.
template <int N>
constexpr int UNDER_WAY = N == 1 ? 8 : 4;
template <int N, int W>
constexpr int TURN = W * (N == 1 ? 8 : N == 2 ? 4 : N <= 8 ? 2 : 1);

// Barriers of all warps: who fills a buffer arrives at one and waits at the other before it fills it anew.
template <int N, int W>
__device__ __forceinline__ void wait_at(int barrier) {
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "n"((W + ADDERS<N>)*WARP) : "memory");
}
template <int N, int W>
__device__ __forceinline__ void arrive_at(int barrier) {
    asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "n"((W + ADDERS<N>)*WARP) : "memory");
}

// What is to be added up, of a turn: of each group and each of 32 rows. Each format leaves out what it has no use for.
template <typename F, int N, int W>
struct Turn {
    static constexpr bool WHOLE = F::HALVES && F::AFFINE;
    // A group's share of each result; where there are no units, all of it.
    float products[TURN<N, W>][N][WARP];
    float unit[WHOLE ? 1 : TURN<N, W>][WARP];
    float offset_unit[F::AFFINE && !WHOLE ? TURN<N, W> : 1][WARP];
};

// Bytes of shared memory that `few` takes: `few_shared_bytes` in layers.rs.
template <typename F, int N, int W>
struct Few {
    Turn<F, N, W> turns[2];
};

// Each of the first N rows of activations times 32 rows of the matrix: a lane has a row. W warps multiply, each some of the
// groups, and others add up group after group, as on the CPU.
template <typename F, int N, int W>
__device__ __forceinline__ void few(const Matrix& m, const int8_t* codes, const Group* groups, float* out, int out_stride) {
    constexpr int G = UNDER_WAY<N>, T = TURN<N, W>, OF_WARP = T / W;
    // So few rows of activations lie in shared memory as a whole, of others only what belongs to groups.
    constexpr bool STAGED = N <= 2;
    extern __shared__ __align__(16) uint8_t memory[];
    Few<F, N, W>& shared = *reinterpret_cast<Few<F, N, W>*>(memory);
    unsigned lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, row = blockIdx.x * WARP + lane;
    unsigned row_groups = (unsigned)m.columns / GROUP, turns = (row_groups + T - 1) / T;
    // Scale, and scaled sum.
    float2* of_groups = reinterpret_cast<float2*>(memory + sizeof(Few<F, N, W>));
    uint4* staged = reinterpret_cast<uint4*>(memory + sizeof(Few<F, N, W>) + (N * row_groups * sizeof(float2) + 15) / 16 * 16);
    // A warp has OF_WARP groups of a turn, one after the other, and takes G of them at a time.
    constexpr int BATCH = OF_WARP < G ? OF_WARP : G, BATCHES = OF_WARP / BATCH;
    Loaded<F> loaded[BATCH];
    auto load = [&](unsigned turn, unsigned batch) {
#pragma unroll
        for (unsigned i = 0; i < BATCH; i++) {
            unsigned group = turn * T + warp * OF_WARP + batch * BATCH + i;
            // Those of a batch of eight lie in one block; where batches are smaller, waiting for its scales was slower.
            const Loaded<F>* beside = N == 1 && i > 0 ? &loaded[0] : nullptr;
            if (group < row_groups) loaded[i] = load_group<F>(m, row, group, beside);
        }
    };
    if (warp < W) load(0, 0);
    begin();
    for (unsigned i = threadIdx.x; i < N * row_groups; i += blockDim.x) {
        of_groups[i] = *reinterpret_cast<const float2*>(groups + i);
    }
    if constexpr (STAGED) {
        for (unsigned i = threadIdx.x; i < N * row_groups * 2; i += blockDim.x) {
            staged[i] = reinterpret_cast<const uint4*>(codes)[i];
        }
    }
    __syncthreads();
    if (warp < W) {
        for (unsigned turn = 0; turn < turns; turn++) {
            Turn<F, N, W>& to = shared.turns[turn % 2];
            if (turn >= 2) wait_at<N, W>(3 + turn % 2);
#pragma unroll
            for (unsigned batch = 0; batch < BATCHES; batch++) {
#pragma unroll
                for (unsigned i = 0; i < BATCH; i++) {
                    unsigned in_turn = warp * OF_WARP + batch * BATCH + i, group = turn * T + in_turn;
                    if (group >= row_groups) break;
                    int words[8];
                    codes_of<F>(loaded[i], words);
                    Scales scales = scales_of<F>(loaded[i], group);
                    if constexpr (!Turn<F, N, W>::WHOLE) {
                        to.unit[in_turn][lane] = scales.unit;
                        if constexpr (F::AFFINE) to.offset_unit[in_turn][lane] = scales.offset_unit;
                    }
#pragma unroll
                    for (int n = 0; n < N; n++) {
                        const uint4* from =
                            (STAGED ? staged : reinterpret_cast<const uint4*>(codes)) + 2 * (n * row_groups + group);
                        uint4 one = from[0], two = from[1];
                        const int with[8] = {(int)one.x, (int)one.y, (int)one.z, (int)one.w,
                                             (int)two.x, (int)two.y, (int)two.z, (int)two.w};
                        int whole[2] = {0, 0}, half_sums = 0;
                        if constexpr (F::HALVES) {
                            half_sums = __ldg(&groups[(size_t)n * row_groups + group].half_sums);
                            whole[0] = -F::ZERO * (int)(int16_t)(half_sums & 0xffff);
                            whole[1] = -F::ZERO * (half_sums >> 16);
                        } else if constexpr (F::ZERO != 0) {
                            whole[0] = -F::ZERO * __ldg(&groups[(size_t)n * row_groups + group].sum);
                        }
#pragma unroll
                        for (int k = 0; k < 8; k++) {
                            int half = F::HALVES ? k / 4 : 0;
                            whole[half] = __dp4a(words[k], with[k], whole[half]);
                        }
                        Share share = share_of<F>(whole, scales, half_sums);
                        if constexpr (Turn<F, N, W>::WHOLE) {
                            float scale = of_groups[n * row_groups + group].x;
                            share.products = whole_share(share, scales.unit, scales.offset_unit, scale);
                        }
                        to.products[in_turn][n][lane] = share.products;
                    }
                }
                // On their way while others multiply.
                if (batch + 1 < BATCHES) {
                    load(turn, batch + 1);
                } else if (turn + 1 < turns) {
                    load(turn + 1, 0);
                }
            }
            arrive_at<N, W>(1 + turn % 2);
        }
        return;
    }
    constexpr int OWN = N / ADDERS<N> > 0 ? N / ADDERS<N> : 1;
    unsigned first = (warp - W) * OWN;
    float sums[OWN] = {};
    for (unsigned turn = 0; turn < turns; turn++) {
        const Turn<F, N, W>& from = shared.turns[turn % 2];
        wait_at<N, W>(1 + turn % 2);
        unsigned count = min((unsigned)T, row_groups - turn * T);
#pragma unroll 8
        for (unsigned i = 0; i < count; i++) {
            float unit = Turn<F, N, W>::WHOLE ? 0.0f : from.unit[i][lane];
            float offset_unit = F::AFFINE && !Turn<F, N, W>::WHOLE ? from.offset_unit[i][lane] : 0.0f;
#pragma unroll
            for (int n = 0; n < OWN; n++) {
                float products = from.products[i][first + n][lane];
                if constexpr (Turn<F, N, W>::WHOLE) {
                    sums[n] = __fadd_rn(sums[n], products);
                } else {
                    float2 scales = of_groups[(first + n) * row_groups + turn * T + i];
                    sums[n] = accumulate<F>(sums[n], {products, 0.0f}, unit, offset_unit, scales.x, scales.y);
                }
            }
        }
        // Nobody waits for the last two.
        if (turn + 2 < turns) arrive_at<N, W>(3 + turn % 2);
    }
    if (row < (unsigned)m.rows) {
#pragma unroll
        for (int n = 0; n < OWN; n++) out[(size_t)(first + n) * out_stride + row] = sums[n];
    }
}

// The bits of 1.5 * 2^23: a whole number below 2^22 added to them is one added to that float.
constexpr int WHOLE_BITS = 0x4b400000;
constexpr float WHOLE = 12582912.0f;

// d = a * b + c of the tensor cores.
__device__ __forceinline__ void mma_k32(int (&d)[4], const int (&a)[4], const int (&b)[2], int c0, int c1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%10,%11};"
        : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(c0), "r"(c1));
}

__device__ __forceinline__ void mma_k16(int (&d)[4], int a0, int a1, int b0, int c0, int c1) {
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%8,%7,%8};"
        : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
        : "r"(a0), "r"(a1), "r"(b0), "r"(c0), "r"(c1));
}

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

// Four matrices of 8 x 16 bytes from shared memory, of which lanes 0 to 7, 8 to 15 and so on name the rows: as the tensor
// cores take them.
__device__ __forceinline__ void load_matrices(int (&to)[4], const uint8_t* row) {
    unsigned from = (unsigned)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(from));
}

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
            if (group < row_groups) loaded[i] = load_group<F>(m, own_row, group);
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
                shared.factors[stage][group][own] = (scales.factors[0] & 255) | (scales.factors[1] & 255) << 8 |
                                                    scales.minimums[0] << 16 | scales.minimums[1] << 24;
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
                            uint32_t bytes = factors[i][e / 2];
                            Scales with = {};
                            with.factors[0] = F::AFFINE ? bytes & 255 : (int)(int8_t)(bytes & 255);
                            with.factors[1] = F::AFFINE ? bytes >> 8 & 255 : (int)(int8_t)(bytes >> 8 & 255);
                            with.minimums[0] = bytes >> 16 & 255;
                            with.minimums[1] = bytes >> 24;
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

#define FEW_OF(KERNEL, F, N, W, BLOCKS)                                                                           \
    extern "C" __global__ void __launch_bounds__((W + ADDERS<N>)*WARP, BLOCKS)                                    \
        KERNEL(Matrix m, Rows a, int, float* out, int out_stride) {                                               \
        few<F, N, W>(m, a.codes, a.groups, out, out_stride);                                                      \
    }
#define FEW(NAME, F, N) FEW_OF(few_##NAME##_##N, F, N, 8, N == 1 ? 2 : 1)
#define QUANTIZED(NAME, F)                                                                                        \
    FEW_OF(few_##NAME##_1_wide, F, 1, 16, 1)                                                                      \
    FEW(NAME, F, 1) FEW(NAME, F, 2) FEW(NAME, F, 4) FEW(NAME, F, 8) FEW(NAME, F, 16)                              \
    extern "C" __global__ void __launch_bounds__(256, 2)                                                          \
        many_##NAME(Matrix m, Rows a, int count, float* out, int out_stride) {                                    \
        many<F, 64>(m, a.codes, a.groups, count, out, out_stride);                                               \
    }
QUANTIZED(q4_0, Q4_0)
QUANTIZED(q4_1, Q4_1)
QUANTIZED(q5_0, Q5_0)
QUANTIZED(q5_1, Q5_1)
QUANTIZED(q8_0, Q8_0)
QUANTIZED(q2_k, Q2K)
QUANTIZED(q3_k, Q3K)
QUANTIZED(q4_k, Q4K)
QUANTIZED(q5_k, Q5K)
QUANTIZED(q6_k, Q6K)
