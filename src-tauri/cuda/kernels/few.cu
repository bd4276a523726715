// Products of activations with quantized weights where rows are few: bound by memory.
#include <type_traits>

#include "tiles.cuh"
#include "weights.cuh"

// Warps of a block that multiply, W, and those that add up what they found.
template <int N>
constexpr int ADDERS = N <= 2 ? 1 : N <= 4 ? 2 : 4;

// Groups that a warp multiplies, all of them under way at once, before they are added up, and those of a block: as many as
// there is room for.
template <int N>
constexpr int BATCH = N == 1 ? 8 : N == 2 || N == 8 ? 4 : 2;
template <int N, int W>
constexpr int TURN = W * BATCH<N>;

// From so many rows on, tensor cores multiply.
constexpr int TILED = 8;
// Bytes from one row of codes to the next where they become tiles: eight rows lie in different banks.
constexpr int TILE_PITCH = GROUP + 16;
// Numbers from one row of activations to the next: what a tile's lanes write lies in different banks.
template <int N>
constexpr int PITCH_OF = N >= TILED ? WARP + 4 : WARP;

// Barriers of a team: who fills a buffer arrives at one and waits at the other before it fills it anew.
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
    float products[TURN<N, W>][N][PITCH_OF<N>];
    float unit[WHOLE ? 1 : TURN<N, W>][WARP];
    float offset_unit[F::AFFINE && !WHOLE ? TURN<N, W> : 1][WARP];

    __device__ __forceinline__ void put(int i, int n, int lane, float share, const Scales& scales, const Group&) {
        put_units(i, lane, scales);
        products[i][n][lane] = share;
    }
    __device__ __forceinline__ void put_units(int i, int lane, const Scales& scales) {
        if constexpr (!WHOLE) {
            unit[i][lane] = scales.unit;
            if constexpr (F::AFFINE) offset_unit[i][lane] = scales.offset_unit;
        }
    }
    __device__ __forceinline__ float add(float sum, int i, int n, int lane, float2 of_group) const {
        if constexpr (WHOLE) return __fadd_rn(sum, products[i][n][lane]);
        float of_offset = F::AFFINE ? offset_unit[i][lane] : 0.0f;
        return accumulate<F>(sum, {products[i][n][lane], 0.0f}, unit[i][lane], of_offset, of_group.x, of_group.y);
    }
};

// Of one row of activations, ready to be added: a result is sum + x * y, and + z * w where there are offsets.
template <typename F, int W>
struct Turn<F, 1, W> {
    static constexpr bool WHOLE = F::HALVES && F::AFFINE;
    struct __align__(16) Four {
        float x, y, z, w;
    };
    struct __align__(8) Two {
        float x, y;
    };
    using Part = std::conditional_t<WHOLE, float, std::conditional_t<F::AFFINE, Four, Two>>;
    Part parts[TURN<1, W>][WARP];

    __device__ __forceinline__ void put(int i, int, int lane, float share, const Scales& scales, const Group& group) {
        if constexpr (WHOLE) {
            parts[i][lane] = share;
        } else if constexpr (F::AFFINE) {
            parts[i][lane] = {share, __fmul_rn(scales.unit, group.scale), scales.offset_unit, group.scaled_sum};
        } else {
            parts[i][lane] = {share, __fmul_rn(scales.unit, group.scale)};
        }
    }
    __device__ __forceinline__ float add(float sum, int i, int, int lane, float2) const {
        Part part = parts[i][lane];
        if constexpr (WHOLE) {
            return __fadd_rn(sum, part);
        } else {
            sum = __fmaf_rn(part.x, part.y, sum);
            if constexpr (F::AFFINE) sum = __fmaf_rn(part.z, part.w, sum);
            return sum;
        }
    }
};

// The products of a group's codes and activations, of each half where scales hold for 16, from `whole` on.
template <typename F>
__device__ __forceinline__ void dot(const Loaded<F>& weights, const int (&with)[8], int (&whole)[2]) {
    int second = 0;
    if constexpr (F::BITS == 4) {
        // The high halves of bytes stay where they are: 16 times as much.
        const uint32_t low[4] = {weights.low[0].x, weights.low[0].y, weights.low[0].z, weights.low[0].w};
#pragma unroll
        for (int k = 0; k < 4; k++) {
            asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(whole[0]) : "r"(low[k] & 0x0f0f0f0fu), "r"(with[k]));
            asm("dp4a.u32.s32 %0, %1, %2, %0;" : "+r"(second) : "r"(low[k] & 0xf0f0f0f0u), "r"(with[4 + k]));
        }
        whole[0] += second >> 4;
        return;
    }
    int words[8];
    codes_of<F>(weights, words);
    int& other = F::HALVES ? whole[1] : second;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        whole[0] = __dp4a(words[k], with[k], whole[0]);
        other = __dp4a(words[4 + k], with[4 + k], other);
    }
    if constexpr (!F::HALVES) whole[0] += second;
}

// What a lane has of a group of N rows of activations: its part of the tiles, and the sums of its columns' codes.
template <typename F, int N>
struct Columns {
    int b[N / 8][2];
    int sums[N / 8][2];

    __device__ __forceinline__ void load(const int8_t* codes, const Group* groups, int row_groups, int group) {
        int lane = threadIdx.x % WARP;
#pragma unroll
        for (int j = 0; j < N / 8; j++) {
            const int* column = reinterpret_cast<const int*>(codes + ((8 * j + lane / 4) * row_groups + group) * GROUP);
            b[j][0] = column[lane % 4];
            b[j][1] = column[4 + lane % 4];
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const Group& of_column = groups[(8 * j + lane % 4 * 2 + e) * row_groups + group];
                sums[j][e] = F::HALVES ? of_column.half_sums : of_column.sum;
            }
        }
    }
};

// Group `group` of 32 rows of the matrix, of which a lane has one, times that of N rows of activations, on tensor cores: what
// belongs to group `i` of a turn. `tile` is the warp's own.
template <typename F, int N, int W>
__device__ __forceinline__ void put_tiles(Turn<F, N, W>& to, int i, uint8_t* tile, const Loaded<F>& weights,
                                          const Scales& scales, const Columns<F, N>& with, const Group* groups,
                                          int row_groups, int group) {
    int lane = threadIdx.x % WARP, words[8], a[2][4];
    codes_of<F>(weights, words);
    int4* own = reinterpret_cast<int4*>(tile + lane * TILE_PITCH);
    // What was there has been read.
    __syncwarp();
    own[0] = make_int4(words[0], words[1], words[2], words[3]);
    own[1] = make_int4(words[4], words[5], words[6], words[7]);
    __syncwarp();
#pragma unroll
    for (int k = 0; k < 2; k++) load_matrices(a[k], tile + (16 * k + lane % 16) * TILE_PITCH + lane / 16 * 16);
    // The scales of the four rows whose results this lane gets.
    Scales of_rows[2][2] = {};
#pragma unroll
    for (int k = 0; k < 4; k++) {
        Scales& of_row = of_rows[k / 2][k % 2];
        int row = lane / 4 + 8 * k;
        if constexpr (F::HALVES) {
            uint32_t bytes = __shfl_sync(ALL, bytes_of(scales), row);
            set_factors<F>(of_row, bytes);
        }
        if constexpr (Turn<F, N, W>::WHOLE) {
            of_row.unit = __shfl_sync(ALL, scales.unit, row);
            of_row.offset_unit = __shfl_sync(ALL, scales.offset_unit, row);
        }
    }
#pragma unroll
    for (int j = 0; j < N / 8; j++) {
        int pair = 8 * j + lane % 4 * 2, first[2], second[2];
        const int(&sums_of)[2] = with.sums[j];
#pragma unroll
        for (int e = 0; e < 2; e++) {
            first[e] = -F::ZERO * (F::HALVES ? (int)(int16_t)(sums_of[e] & 0xffff) : sums_of[e]);
            second[e] = -F::ZERO * (sums_of[e] >> 16);
        }
#pragma unroll
        for (int k = 0; k < 2; k++) {
            int products[2][4] = {};
            if constexpr (F::HALVES) {
                mma_k16(products[0], a[k][0], a[k][1], with.b[j][0], first[0], first[1]);
                mma_k16(products[1], a[k][2], a[k][3], with.b[j][1], second[0], second[1]);
            } else {
                mma_k32(products[0], a[k], with.b[j], first[0], first[1]);
            }
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const Scales& of_row = of_rows[k][e / 2];
                const int whole[2] = {products[0][e], products[1][e]};
                Share share = share_of<F>(whole, of_row, sums_of[e % 2]);
                if constexpr (Turn<F, N, W>::WHOLE) {
                    float scale = groups[(pair + e % 2) * row_groups + group].scale;
                    share.products = whole_share(share, of_row.unit, of_row.offset_unit, scale);
                }
                to.products[i][pair + e % 2][16 * k + lane / 4 + e / 2 * 8] = share.products;
            }
        }
    }
    to.put_units(i, lane, scales);
}

// Each of the first N rows of activations times 32 rows of the matrix: a lane has a row. W warps multiply, each some of the
// groups, and others add up group after group, as on the CPU. Where a `gate` follows (N is 1), the matrix has the gate's
// rows, then those of what it lets through, and a block has two teams, for 32 of both: silu(gate) * up comes out, quantized.
template <typename F, int N, int W, bool GATED>
__device__ __forceinline__ void few(const Matrix& m, const int8_t* codes, const Group* groups, float* out, int out_stride,
                                    const Rows& gated) {
    constexpr int T = TURN<N, W>, B = BATCH<N>, TEAM = (W + ADDERS<N>)*WARP, TEAMS = GATED ? 2 : 1;
    using OfGroup = std::conditional_t<N == 1, Group, float2>;
    // So few rows of activations lie in shared memory as a whole, of others only what belongs to groups.
    constexpr bool STAGED = N <= 2, ALWAYS_WHOLE = B == 8 && F::KIND >= SIX_BITS;
    extern __shared__ __align__(16) uint8_t memory[];
    int team = GATED ? threadIdx.x / TEAM : 0, columns = m.rows / 2, barrier = 1 + 4 * team;
    auto* shared = reinterpret_cast<Turn<F, N, W>*>(memory) + 2 * team;
    unsigned lane = threadIdx.x % WARP, warp = threadIdx.x % TEAM / WARP, row = team * columns + blockIdx.x * WARP + lane;
    int row_groups = m.columns / GROUP, turns = (row_groups + T - 1) / T;
    OfGroup* of_groups = reinterpret_cast<OfGroup*>(memory + TEAMS * 2 * sizeof(Turn<F, N, W>));
    uint4* staged = reinterpret_cast<uint4*>(of_groups + (N * row_groups + 1) / 2 * 2);
    // Where a warp puts a group's codes to take them as tiles.
    uint8_t* tile = reinterpret_cast<uint8_t*>(staged) + warp * WARP * TILE_PITCH;
    Loaded<F> loaded[B];
    if (warp < W) {
        InRow<F> from(m, row, warp * B);
#pragma unroll
        for (int i = 0; i < B; i++) {
            // Those of a batch of eight lie in one block; where batches are smaller, waiting for its scales was slower.
            if ((int)warp * B + i < row_groups) loaded[i] = from.load(i, B == 8 && i > 0 ? &loaded[0] : nullptr);
        }
    }
    begin();
    for (int i = threadIdx.x; i < N * row_groups; i += blockDim.x) {
        of_groups[i] = *reinterpret_cast<const OfGroup*>(groups + i);
    }
    if constexpr (STAGED) {
        for (int i = threadIdx.x; i < N * row_groups * 2; i += blockDim.x) {
            staged[i] = reinterpret_cast<const uint4*>(codes)[i];
        }
    }
    __syncthreads();
    if (warp < W) {
        int first = warp * B;
        Columns<F, N >= TILED ? N : TILED> with[N >= TILED ? B : 1];
        if constexpr (N >= TILED) {
#pragma unroll
            for (int i = 0; i < B; i++) {
                if (first + i < row_groups) with[i].load(codes, groups, row_groups, first + i);
            }
        }
        for (int turn = 0; turn < turns; turn++, first += T) {
            Turn<F, N, W>& to = shared[turn % 2];
            if (turn >= 2) wait_at<N, W>(barrier + 2 + turn % 2);
            InRow<F> next(m, row, first + T);
            // Where all groups of a batch are there, as nearly always, nothing stands between them.
            auto multiply = [&](auto whole_batch) {
                constexpr bool ALL_THERE = decltype(whole_batch)::value;
                // What a batch of eight has once, before the next batch's comes.
                const Loaded<F> once = loaded[0];
#pragma unroll
                for (int i = 0; i < B; i++) {
                    if (!ALL_THERE && first + i >= row_groups) break;
                    Loaded<F> weights = loaded[i];
                    if (B == 8 && F::KIND == SIX_BITS) weights.scales = once.scales;
                    if (B == 8) weights.units = once.units;
                    Scales scales = scales_of<F>(weights, B == 8 ? i : first + i);
                    if constexpr (N >= TILED) {
                        put_tiles<F, N, W>(to, warp * B + i, tile, weights, scales, with[i], groups, row_groups, first + i);
                    }
#pragma unroll
                    for (int n = 0; n < (N >= TILED ? 0 : N); n++) {
                        int at = n * row_groups + first + i;
                        const uint4* from = (STAGED ? staged : reinterpret_cast<const uint4*>(codes)) + 2 * at;
                        uint4 one = from[0], two = from[1];
                        const int with[8] = {(int)one.x, (int)one.y, (int)one.z, (int)one.w,
                                             (int)two.x, (int)two.y, (int)two.z, (int)two.w};
                        const Group& group = N == 1 ? reinterpret_cast<const Group*>(of_groups)[at] : groups[at];
                        int whole[2] = {0, 0};
                        if constexpr (F::HALVES) {
                            whole[0] = -F::ZERO * (int)(int16_t)(group.half_sums & 0xffff);
                            whole[1] = -F::ZERO * (group.half_sums >> 16);
                        } else {
                            whole[0] = -F::ZERO * group.sum;
                        }
                        dot<F>(weights, with, whole);
                        Share share = share_of<F>(whole, scales, group.half_sums);
                        if constexpr (Turn<F, N, W>::WHOLE) {
                            share.products = whole_share(share, scales.unit, scales.offset_unit, group.scale);
                        }
                        to.put(warp * B + i, n, lane, share.products, scales, group);
                    }
                    // On its way while the others are multiplied.
                    if (ALL_THERE && first + T + i < row_groups) {
                        loaded[i] = next.load(i, B == 8 && i > 0 ? &loaded[0] : nullptr);
                        if constexpr (N >= TILED) with[i].load(codes, groups, row_groups, first + T + i);
                    }
                }
            };
            if (first + B <= row_groups) {
                multiply(std::true_type{});
            } else if (!ALWAYS_WHOLE) {
                multiply(std::false_type{});
            }
            arrive_at<N, W>(barrier + turn % 2);
        }
        return;
    }
    constexpr int OWN = N / ADDERS<N> > 0 ? N / ADDERS<N> : 1;
    int own = (warp - W) * OWN;
    float sums[OWN] = {};
    for (int turn = 0; turn < turns; turn++) {
        const Turn<F, N, W>& from = shared[turn % 2];
        wait_at<N, W>(barrier + turn % 2);
        int count = min(T, row_groups - turn * T);
#pragma unroll 8
        for (int i = 0; i < count; i++) {
#pragma unroll
            for (int n = 0; n < OWN; n++) {
                const auto& group = *reinterpret_cast<const float2*>(of_groups + (own + n) * row_groups + turn * T + i);
                sums[n] = from.add(sums[n], i, own + n, lane, group);
            }
        }
        // Nobody waits for the last two.
        if (turn + 2 < turns) arrive_at<N, W>(barrier + 2 + turn % 2);
    }
    if constexpr (GATED) {
        __shared__ float up[WARP];
        if (team == 1) up[lane] = sums[0];
        // Both teams' last warps.
        asm volatile("bar.sync 9, 64;" ::: "memory");
        if (team == 0) put_one(silu_times(sums[0], up[lane]), row, gated.values, gated.codes, gated.groups);
        return;
    }
    if (row < (unsigned)m.rows) {
#pragma unroll
        for (int n = 0; n < OWN; n++) out[(size_t)(own + n) * out_stride + row] = sums[n];
    }
}

#define FEW_OF(KERNEL, F, N, W, GATED, BLOCKS)                                                                    \
    extern "C" __global__ void __launch_bounds__((GATED ? 2 : 1) * (W + ADDERS<N>)*WARP, BLOCKS)                  \
        KERNEL(Matrix m, Rows a, int, float* out, int out_stride, Rows gated) {                                   \
        few<F, N, W, GATED>(m, a.codes, a.groups, out, out_stride, gated);                                        \
    }
// Blocks on a multiprocessor: of eight rows two, where the codes leave registers enough.
template <typename F, int N>
constexpr int BLOCKS_OF = N == 1 ? (F::BITS <= 4 ? 3 : 2) : N == 8 && (F::BITS == 4 || F::BITS == 8) ? 2 : 1;
#define FEW(NAME, F, N) FEW_OF(few_##NAME##_##N, F, N, 8, false, (BLOCKS_OF<F, N>))
#define QUANTIZED(NAME, F)                                                                                        \
    FEW_OF(few_##NAME##_1_wide, F, 1, 16, false, 1)                                                               \
    FEW(NAME, F, 1) FEW(NAME, F, 2) FEW(NAME, F, 4) FEW(NAME, F, 8) FEW(NAME, F, 16)
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
// What codes of more bits have under way leaves no registers for a second team.
#define GATED(NAME, F) FEW_OF(few_##NAME##_1_gated, F, 1, 4, true, 2)
GATED(q4_0, Q4_0)
GATED(q4_1, Q4_1)
GATED(q5_0, Q5_0)
GATED(q5_1, Q5_1)
GATED(q2_k, Q2K)
GATED(q3_k, Q3K)
GATED(q4_k, Q4K)
GATED(q5_k, Q5K)
