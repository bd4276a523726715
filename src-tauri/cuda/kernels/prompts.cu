// Attention of prompts' tokens over a paged KV cache: tiles of queries times keys, and of exponentials times values, in
// plain arithmetic. Each result adds up as on the CPU, to the last bit.
#include "attention.cuh"

// Queries of a tile: rows of a prompt times the query heads that share a key and value head; and positions of one.
constexpr int TILE_QUERIES = 64;
constexpr int TILE_POSITIONS = 128;
// What is multiplied between two barriers, and threads of a block: each has 8 x N / 16 results, four beside each other.
// Three blocks to a multiprocessor: with four, registers would be so few that multiply-adds wait for each other's banks.
constexpr int CHUNK = 16;
constexpr int THREADS = 128;
constexpr int BLOCKS = 3;

// Two chunks of both sides, of which one is multiplied while the other comes.
template <int N>
struct Sides {
    // Rows of four floats more: what is written across the rows lies in different banks.
    float left[2][CHUNK][TILE_QUERIES + 4];
    float right[2][CHUNK][N + 4];
};

// The results of a thread: queries 4 * y + 0..4 and 32 more, columns 4 * x + 0..4 and, of 128, 64 more.
template <int N>
struct Results {
    static constexpr int COLUMNS = N / 16;
    float sums[8][COLUMNS] = {};

    static __device__ __forceinline__ int x() { return threadIdx.x / WARP % 2 * 8 + threadIdx.x % 8; }
    static __device__ __forceinline__ int y() { return threadIdx.x / (2 * WARP) * 4 + threadIdx.x % WARP / 8; }
    static __device__ __forceinline__ int query(int i) { return 4 * y() + i % 4 + i / 4 * 32; }

    // `load` brings a thread's share of a chunk into registers, `store` puts it into one of the two stages: whatever has to
    // wait for the loaded values belongs there.
    template <typename Load, typename Store>
    __device__ __forceinline__ void multiply(const Sides<N>& sides, int chunks, Load load, Store store) {
        load(0);
        store(0, 0);
        __syncthreads();
        for (int chunk = 0; chunk < chunks; chunk++) {
            int stage = chunk % 2;
            if (chunk + 1 < chunks) load(chunk + 1);
#pragma unroll
            for (int k = 0; k < CHUNK; k++) {
                float left[8], right[COLUMNS];
                *reinterpret_cast<float4*>(left) = *reinterpret_cast<const float4*>(&sides.left[stage][k][4 * y()]);
                *reinterpret_cast<float4*>(left + 4) = *reinterpret_cast<const float4*>(&sides.left[stage][k][4 * y() + 32]);
#pragma unroll
                for (int j = 0; j < COLUMNS; j += 4) {
                    const float* from = &sides.right[stage][k][4 * x() + 16 * j];
                    *reinterpret_cast<float4*>(right + j) = *reinterpret_cast<const float4*>(from);
                }
                // In this order the compiler finds registers in different banks.
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) {
#pragma unroll
                    for (int i = 0; i < 8; i++) sums[i][j] = __fmaf_rn(right[j], left[i], sums[i][j]);
                }
            }
            if (chunk + 1 < chunks) {
                // Everybody left that stage at the last barrier.
                store(1 - stage, chunk + 1);
                __syncthreads();
            }
        }
    }
};

// A tile's queries. Grid of the kernels: y is kv_heads * passes, where a pass has `group` of the query heads that share a
// key and value head; z the tiles: first row, and rows.
struct Tile {
    int kv_head, heads, first_head, all_heads, first_row, count, first_page;
    // Of the first row; the last that any row sees.
    int position, most;

    __device__ __forceinline__ Tile(const Token* tokens, const int2* tiles, const Shape& shape, int group) {
        int2 tile = tiles[blockIdx.z];
        int in_head = shape.heads / shape.kv_heads, passes = (in_head + group - 1) / group;
        int first_in_group = blockIdx.y % passes * group;
        kv_head = blockIdx.y / passes;
        heads = min(group, in_head - first_in_group);
        first_head = kv_head * in_head + first_in_group;
        all_heads = shape.heads;
        first_row = tile.x;
        count = tile.y * heads;
        Token token = tokens[tile.x];
        first_page = token.first_page;
        position = token.position;
        most = position + tile.y - 1;
    }
    // Where query `q` is among the heads of all rows from `row` on.
    __device__ __forceinline__ size_t number(int q, int row) const {
        return (size_t)(first_row - row + q / heads) * all_heads + first_head + q % heads;
    }
    // The last position that query `q` sees.
    __device__ __forceinline__ int limit(int q) const { return position + q / heads; }
    __device__ __forceinline__ const uint8_t* page(const unsigned long long* pages, int page) const {
        return reinterpret_cast<const uint8_t*>(pages[first_page + page]);
    }
};

// A thread's share of the left side: four columns of queries q and q + 32.
struct Four {
    float4 values[2];

    static __device__ __forceinline__ int query(int i) { return threadIdx.x / 4 + 32 * i; }
    static __device__ __forceinline__ int column() { return threadIdx.x % 4 * 4; }
    template <int N>
    __device__ __forceinline__ void store(Sides<N>& sides, int stage) const {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            sides.left[stage][column()][query(i)] = values[i].x;
            sides.left[stage][column() + 1][query(i)] = values[i].y;
            sides.left[stage][column() + 2][query(i)] = values[i].z;
            sides.left[stage][column() + 3][query(i)] = values[i].w;
        }
    }
};

// Scores of the SPAN from `span` on: queries times keys. Grid: x is every TILE_POSITIONS.
template <typename E>
__device__ __forceinline__ void score_tile(const float* queries, const Token* tokens, const int2* tiles,
                                           const unsigned long long* pages, const Shape& shape, const Layout& layout,
                                           int group, const Kept& kept, int span) {
    __shared__ __align__(16) Sides<TILE_POSITIONS> sides;
    begin();
    Tile own(tokens, tiles, shape, group);
    int dim = shape.head_dim, first = span + blockIdx.x * TILE_POSITIONS;
    if (first > own.most) return;
    long long of_head = layout.keys + (long long)own.kv_head * layout.head;

    // A thread brings a position's key.
    int key = threadIdx.x, key_page = (first + key) / PAGE;
    const uint8_t* keys = nullptr;
    if (key_page * PAGE <= own.most) keys = own.page(pages, key_page) + of_head + key % PAGE * 8 * E::BYTES;
    const float* from[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int q = Four::query(i);
        from[i] = q < own.count ? queries + own.number(q, 0) * dim + Four::column() : nullptr;
    }
    Four four;
    typename E::Eight eights[CHUNK / 8];
    auto load = [&](int chunk) {
#pragma unroll
        for (int i = 0; i < CHUNK / 8; i++) {
            int at = chunk * CHUNK / 8 + i;
            eights[i] = {};
            if (keys && at * 8 < dim) eights[i] = load_eight<E>(keys + (size_t)at * PAGE * 8 * E::BYTES);
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            bool here = from[i] && chunk * CHUNK + Four::column() < dim;
            four.values[i] = here ? *reinterpret_cast<const float4*>(from[i] + chunk * CHUNK)
                                  : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        }
    };
    auto store = [&](int stage, int) {
        four.store(sides, stage);
#pragma unroll
        for (int i = 0; i < CHUNK / 8; i++) {
            float floats[8];
            E::floats(eights[i], floats);
#pragma unroll
            for (int j = 0; j < 8; j++) sides.right[stage][8 * i + j][key] = floats[j];
        }
    };
    Results<TILE_POSITIONS> results;
    results.multiply(sides, (dim + CHUNK - 1) / CHUNK, load, store);

    int lane = threadIdx.x % WARP;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        // The eight lanes beside each other have a page.
        int at = first + 4 * results.x() + 64 * half, page = at / PAGE;
        float scales[4] = {1.0f, 1.0f, 1.0f, 1.0f};
        if (E::SCALED && page * PAGE <= own.most) {
            const uint8_t* of_page = own.page(pages, page) + of_head + (size_t)dim * PAGE * E::BYTES;
#pragma unroll
            for (int j = 0; j < 4; j++) scales[j] = reinterpret_cast<const float*>(of_page)[at % PAGE + j];
        }
#pragma unroll
        for (int i = 0; i < 8; i++) {
            int q = results.query(i), limit = own.limit(q);
            float scores[4], largest = -INFINITY;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float score = results.sums[i][4 * half + j];
                if constexpr (E::SCALED) score = __fmul_rn(score, scales[j]);
                scores[j] = at + j <= limit ? score : -INFINITY;
                largest = fmaxf(largest, scores[j]);
            }
#pragma unroll
            for (int mask = 4; mask > 0; mask /= 2) largest = fmaxf(largest, __shfl_xor_sync(ALL, largest, mask));
            if (q >= own.count) continue;
            size_t to = own.number(q, kept.first_row) * SPAN + at - span;
            *reinterpret_cast<float4*>(kept.scores + to) = make_float4(scores[0], scores[1], scores[2], scores[3]);
            if (lane % 8 == 0) kept.largest[to / PAGE] = largest;
        }
    }
}

// Exponentials, and values weighted with them, of each PART of the SPAN from `span` on. Grid: x is parts times every N
// elements of a head.
template <typename E, int N>
__device__ __forceinline__ void weigh_tile(const Token* tokens, const int2* tiles, const unsigned long long* pages,
                                           const Shape& shape, const Layout& layout, int group, const Kept& kept,
                                           int span) {
    constexpr int PAGES = PART / PAGE;
    __shared__ __align__(16) Sides<N> sides;
    __shared__ const uint8_t* values[PAGES];
    begin();
    Tile own(tokens, tiles, shape, group);
    int dim = shape.head_dim, of_head = (dim + N - 1) / N, part = blockIdx.x / of_head, first = span + part * PART;
    if (first > own.most) return;
    int first_element = blockIdx.x % of_head * N, count = min(PART, own.most + 1 - first);
    if (threadIdx.x < PAGES && threadIdx.x * PAGE < count) {
        values[threadIdx.x] = own.page(pages, first / PAGE + threadIdx.x) + layout.values +
                              (long long)own.kv_head * layout.head;
    }
    __syncthreads();

    // A thread brings eight elements of a value, or of two.
    constexpr int APART = THREADS / (N / 8);
    int value = threadIdx.x / (N / 8), element = threadIdx.x % (N / 8) * 8;
    bool has_element = first_element + element < dim;
    const float* from[2];
    // Positions of the part that each sees, the largest of their scores, and the sums of exponentials: four of the CPU's
    // lanes, which are those of the thread's columns.
    int seen[2];
    float largest[2], totals[2][4] = {};
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int q = Four::query(i);
        seen[i] = q < own.count ? own.limit(q) + 1 - first : 0;
        size_t number = own.number(q < own.count ? q : 0, kept.first_row);
        from[i] = kept.scores + number * SPAN + part * PART;
        largest[i] = -INFINITY;
        for (int page = 0; page < PAGES && page * PAGE < seen[i]; page++) {
            largest[i] = fmaxf(largest[i], kept.largest[number * (SPAN / PAGE) + part * PAGES + page]);
        }
    }
    Four four;
    float4 scales = make_float4(1.0f, 1.0f, 1.0f, 1.0f);
    typename E::Eight eights[CHUNK / APART];
    auto load = [&](int chunk) {
        int at = chunk * CHUNK + Four::column();
        const uint8_t* page = values[chunk * CHUNK / PAGE];
        if constexpr (E::SCALED) {
            scales = *reinterpret_cast<const float4*>(page + (size_t)dim * PAGE * E::BYTES + at % PAGE * 4);
        }
#pragma unroll
        for (int i = 0; i < 2; i++) four.values[i] = *reinterpret_cast<const float4*>(from[i] + at);
#pragma unroll
        for (int i = 0; i < CHUNK / APART; i++) {
            int of_part = chunk * CHUNK + value + i * APART;
            eights[i] = {};
            if (has_element && of_part < count) {
                eights[i] = load_eight<E>(page + ((size_t)(of_part % PAGE) * dim + first_element + element) * E::BYTES);
            }
        }
    };
    auto store = [&](int stage, int chunk) {
        int at = chunk * CHUNK + Four::column();
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float* weights = reinterpret_cast<float*>(&four.values[i]);
            const float* scale = reinterpret_cast<const float*>(&scales);
#pragma unroll
            for (int j = 0; j < 4; j++) {
                // What nobody wrote may be anything.
                weights[j] = at + j < seen[i] ? exp_of(__fadd_rn(weights[j], -largest[i])) : 0.0f;
                totals[i][j] = __fadd_rn(totals[i][j], weights[j]);
                if (E::SCALED && at + j < seen[i]) weights[j] = __fmul_rn(weights[j], scale[j]);
            }
        }
        four.store(sides, stage);
#pragma unroll
        for (int i = 0; i < CHUNK / APART; i++) {
            float floats[8];
            E::floats(eights[i], floats);
            float4* to = reinterpret_cast<float4*>(&sides.right[stage][value + i * APART][element]);
            to[0] = make_float4(floats[0], floats[1], floats[2], floats[3]);
            to[1] = make_float4(floats[4], floats[5], floats[6], floats[7]);
        }
    };
    Results<N> results;
    results.multiply(sides, (count + CHUNK - 1) / CHUNK, load, store);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        // Lanes as `sum_of_lanes` adds them up: those eight apart are two threads apart.
#pragma unroll
        for (int j = 0; j < 4; j++) {
            totals[i][j] = __fadd_rn(totals[i][j], __shfl_down_sync(ALL, totals[i][j], 2, 4));
            totals[i][j] = __fadd_rn(totals[i][j], __shfl_down_sync(ALL, totals[i][j], 1, 4));
        }
        float total = __fadd_rn(__fadd_rn(totals[i][0], totals[i][2]), __fadd_rn(totals[i][1], totals[i][3]));
        if (Four::column() == 0 && seen[i] > 0) {
            size_t at = own.number(Four::query(i), kept.first_row) * kept.part_count + part;
            kept.of_parts[at] = make_float2(largest[i], total);
        }
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        int q = results.query(i);
        if (q >= own.count) continue;
        size_t at = own.number(q, kept.first_row) * kept.part_count + part;
#pragma unroll
        for (int j = 0; j < results.COLUMNS; j += 4) {
            int to = first_element + 4 * results.x() + 16 * j;
            const float* sums = results.sums[i] + j;
            if (to < dim) {
                *reinterpret_cast<float4*>(kept.parts + at * dim + to) = make_float4(sums[0], sums[1], sums[2], sums[3]);
            }
        }
    }
}

#define WEIGH_TILE(NAME, E, N)                                                                                    \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)                                                      \
        weigh_tile_##NAME##_##N(const Token* tokens, const int2* tiles, const unsigned long long* pages,          \
                                Shape shape, Layout layout, int group, Kept kept, int span) {                               \
        weigh_tile<E, N>(tokens, tiles, pages, shape, layout, group, kept, span);                                       \
    }
#define PROMPT(NAME, E)                                                                                           \
    extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)                                                      \
        score_tile_##NAME(const float* queries, const Token* tokens, const int2* tiles,                           \
                          const unsigned long long* pages, Shape shape, Layout layout, int group, Kept kept, int span) {    \
        score_tile<E>(queries, tokens, tiles, pages, shape, layout, group, kept, span);                                 \
    }                                                                                                             \
    WEIGH_TILE(NAME, E, 64) WEIGH_TILE(NAME, E, 128)
PROMPT(f16, KvF16)
PROMPT(f32, KvF32)
PROMPT(q8, KvQ8)
