// Attention over a paged KV cache: keys and values take their place, and tokens that are generated look back at all.
#include "attention.cuh"

constexpr int BLOCK = 128;
constexpr int WARPS_OF_BLOCK = BLOCK / WARP;
// Most elements of a head.
constexpr int MOST_HEAD = 256;

// From a token's products to its query, and its key and value in the cache: biases, norms of heads, rotation. A warp for
// each head; queries are scaled for attention. `products` has queries, keys and values of a token one after the other;
// `angles` cosine and sine of each pair.
template <typename E>
__device__ __forceinline__ void place(const float* products, const Token* tokens, const unsigned long long* pages,
                                      const float2* angles, const float* bias, const float* query_norm,
                                      const float* key_norm, const Shape& shape, const Layout& layout, float* query) {
    __shared__ float shared[4][MOST_HEAD];
    int lane = threadIdx.x % WARP, head = blockIdx.x * 4 + threadIdx.x / WARP, all = shape.heads + 2 * shape.kv_heads;
    begin();
    size_t row = blockIdx.y;
    Token token = tokens[row];
    if (head >= all || token.position < 0) return;
    float* x = shared[threadIdx.x / WARP];
    int dim = shape.head_dim;
    const float* from = products + row * all * dim + head * dim;
    bool is_query = head < shape.heads, is_value = head >= shape.heads + shape.kv_heads;
    for (int i = lane; i < dim; i += WARP) x[i] = bias ? __fadd_rn(from[i], bias[head * dim + i]) : from[i];
    const float* norm = is_query ? query_norm : is_value ? nullptr : key_norm;
    if (norm) {
        __syncwarp();
        float sum = 0.0f;
        for (int i = lane % LANES; i < dim; i += LANES) sum = __fmaf_rn(x[i], x[i], sum);
        sum = __shfl_sync(ALL, sum_of_lanes(sum), 0);
        float factor = norm_factor(sum, dim, shape.epsilon);
        __syncwarp();
        for (int i = lane; i < dim; i += WARP) x[i] = __fmul_rn(__fmul_rn(x[i], factor), norm[i]);
    }
    __syncwarp();
    if (!is_value) {
        int pairs = shape.rotated / 2;
        for (int i = lane; i < pairs; i += WARP) {
            int one = shape.halves ? i : 2 * i, two = shape.halves ? i + pairs : 2 * i + 1;
            float2 turn = angles[row * pairs + i];
            float a = x[one], b = x[two];
            x[one] = __fsub_rn(__fmul_rn(a, turn.x), __fmul_rn(b, turn.y));
            x[two] = __fadd_rn(__fmul_rn(a, turn.y), __fmul_rn(b, turn.x));
        }
        __syncwarp();
    }
    if (is_query) {
        float scale = __fdiv_rn(1.0f, __fsqrt_rn((float)dim));
        float* to = query + row * shape.heads * dim + head * dim;
        for (int i = lane; i < dim; i += WARP) to[i] = __fmul_rn(x[i], scale);
        return;
    }
    int kv_head = is_value ? head - shape.heads - shape.kv_heads : head - shape.heads;
    uint8_t* page = reinterpret_cast<uint8_t*>(pages[token.first_page + token.position / PAGE]);
    uint8_t* to = page + (is_value ? layout.values : layout.keys) + (long long)kv_head * layout.head;
    int slot = token.position % PAGE;
    float largest = 0.0f;
    if constexpr (E::SCALED) {
        for (int i = lane; i < dim; i += WARP) largest = fmaxf(largest, fabsf(x[i]));
        largest = warp_max(largest);
        if (lane == 0) reinterpret_cast<float*>(to + dim * PAGE)[slot] = __fdiv_rn(largest, 127.0f);
    }
    for (int i = lane; i < dim; i += WARP) {
        E::put(to, is_value ? slot * dim + i : (i / 8 * PAGE + slot) * 8 + i % 8, x[i], largest);
    }
}

// Queries of a row with one key and value head: up to Q of those that share it. Grid of the kernels: x is theirs, y is
// kv_heads * passes, where a pass has `group` of the query heads of a key and value head; z the rows.
struct Queries {
    // Of the first: where it is among the rows' heads, and among those of `Kept`.
    int kv_head, count, first_page, first, number;
    // The last position that they see; -1 for none.
    int limit;

    __device__ __forceinline__ Queries(const Token* tokens, const Shape& shape, int group, const Kept& kept) {
        int in_head = shape.heads / shape.kv_heads, passes = (in_head + group - 1) / group;
        int first_in_group = blockIdx.y % passes * group;
        Token token = tokens[blockIdx.z];
        kv_head = blockIdx.y / passes;
        count = min(group, in_head - first_in_group);
        first_page = token.first_page;
        first = blockIdx.z * shape.heads + kv_head * in_head + first_in_group;
        number = first - kept.first_row * shape.heads;
        limit = token.position;
    }
};

// Scores: queries times keys. A warp takes a page, a lane a position of it.
template <typename E, int Q>
__device__ __forceinline__ void score(const float* queries, const Token* tokens,
                                      const unsigned long long* pages, const Shape& shape, const Layout& layout,
                                      int group, const Kept& kept) {
    extern __shared__ __align__(16) float query[];
    int dim = shape.head_dim, lane = threadIdx.x % WARP;
    begin();
    Queries own(tokens, shape, group, kept);
    int page = blockIdx.x * WARPS_OF_BLOCK + threadIdx.x / WARP;
    if ((int)blockIdx.x * WARPS_OF_BLOCK * PAGE > own.limit) return;
#pragma unroll
    for (int q = 0; q < Q; q++) {
        for (int i = threadIdx.x; i < dim; i += BLOCK) {
            query[q * dim + i] = q < own.count ? queries[(size_t)(own.first + q) * dim + i] : 0.0f;
        }
    }
    __syncthreads();
    for (; page * PAGE <= own.limit; page += gridDim.x * WARPS_OF_BLOCK) {
        const uint8_t* keys = reinterpret_cast<const uint8_t*>(pages[own.first_page + page]) + layout.keys +
                              (long long)own.kv_head * layout.head;
        float scores[Q] = {};
#pragma unroll 8
        for (int eight = 0; eight < dim / 8; eight++) {
            float key[8];
            E::floats(load_eight<E>(keys + (eight * PAGE + lane) * 8 * E::BYTES), key);
#pragma unroll
            for (int q = 0; q < Q; q++) {
                const float4* with = reinterpret_cast<const float4*>(query + q * dim + eight * 8);
                float4 one = with[0], two = with[1];
                const float all[8] = {one.x, one.y, one.z, one.w, two.x, two.y, two.z, two.w};
#pragma unroll
                for (int i = 0; i < 8; i++) scores[q] = __fmaf_rn(key[i], all[i], scores[q]);
            }
        }
        float scale = E::SCALED ? reinterpret_cast<const float*>(keys + dim * PAGE)[lane] : 1.0f;
#pragma unroll
        for (int q = 0; q < Q; q++) {
            if (q >= own.count) break;
            if constexpr (E::SCALED) scores[q] = __fmul_rn(scores[q], scale);
            if (page * PAGE + lane > own.limit) scores[q] = -INFINITY;
            size_t at = (size_t)(own.number + q) * kept.positions + page * PAGE;
            kept.scores[at + lane] = scores[q];
            float largest = warp_max(scores[q]);
            if (lane == 0) kept.largest[at / PAGE] = largest;
        }
    }
}

// Exponentials, and the values weighted with them: a block takes every so many PARTs, of which it brings `stage_bytes` of
// values into shared memory at once. A thread has two elements of the values and Q / SETS queries.
template <typename E, int Q, int SETS>
__device__ __forceinline__ void weigh(const Token* tokens, const unsigned long long* pages,
                                      const Shape& shape, const Layout& layout, int group, const Kept& kept,
                                      int stage_bytes) {
    constexpr int PAGES = PART / PAGE, OWN = Q / SETS;
    extern __shared__ __align__(16) uint8_t stage[];
    __shared__ float largest[Q];
    __shared__ __align__(16) float weights[Q][PART];
    __shared__ const uint8_t* values[PAGES];
    int dim = shape.head_dim, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    begin();
    Queries own(tokens, shape, group, kept);
    int part = blockIdx.x;
    if (part * PART > own.limit) return;
    int page_bytes = PAGE * dim * E::BYTES, together = min(PAGES, stage_bytes / page_bytes);
    int pairs = dim / 2, set = threadIdx.x / pairs, element = 2 * (threadIdx.x % pairs);
#pragma unroll
    for (int q = 0; q < Q; q++) {
        if (q % WARPS_OF_BLOCK != warp || q >= own.count) continue;
        const float* of = kept.largest + (size_t)(own.number + q) * (kept.positions / PAGE);
        float found = -INFINITY;
        for (int page = lane; page * PAGE <= own.limit; page += WARP) found = fmaxf(found, of[page]);
        found = warp_max(found);
        if (lane == 0) largest[q] = found;
    }
    for (; part * PART <= own.limit; part += gridDim.x) {
        int count = min(PART, own.limit + 1 - part * PART), of_part = (count + PAGE - 1) / PAGE;
        if ((int)threadIdx.x < of_part) {
            unsigned long long page = pages[own.first_page + part * PAGES + threadIdx.x];
            values[threadIdx.x] = reinterpret_cast<const uint8_t*>(page) + layout.values + (long long)own.kv_head * layout.head;
        }
        __syncthreads();
        float2 sums[OWN];
#pragma unroll
        for (int k = 0; k < OWN; k++) sums[k] = make_float2(0.0f, 0.0f);
        for (int first = 0; first < of_part; first += together) {
            int these = min(together, of_part - first);
            for (int page = 0; page < these; page++) {
                const uint8_t* from = values[first + page];
                unsigned to = (unsigned)__cvta_generic_to_shared(stage + page * page_bytes);
#pragma unroll 4
                for (int i = threadIdx.x * 16; i < page_bytes; i += BLOCK * 16) {
                    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to + i), "l"(from + i));
                }
            }
            asm volatile("cp.async.commit_group;");
            if (first == 0) {
#pragma unroll
                for (int q = 0; q < Q; q++) {
#pragma unroll
                    for (int at = threadIdx.x; at < PART; at += BLOCK) {
                        float weight = 0.0f;
                        if (q < own.count && at < of_part * PAGE) {
                            float* score = kept.scores + (size_t)(own.number + q) * kept.positions + part * PART + at;
                            float was = *score;
                            weight = was == -INFINITY ? 0.0f : exp_of(__fadd_rn(was, -largest[q]));
                            *score = weight;
                            if constexpr (E::SCALED) {
                                // What lies beyond the last position was never written.
                                const float* scales = reinterpret_cast<const float*>(values[at / PAGE] + dim * PAGE);
                                weight = at < count ? __fmul_rn(weight, scales[at % PAGE]) : 0.0f;
                            }
                        }
                        weights[q][at] = weight;
                    }
                }
            }
            asm volatile("cp.async.wait_all;" ::: "memory");
            __syncthreads();
            if (set < SETS) {
                auto add = [&](float2 value, int k, float weight) {
                    sums[k].x = __fmaf_rn(value.x, weight, sums[k].x);
                    sums[k].y = __fmaf_rn(value.y, weight, sums[k].y);
                };
                int end = min(these * PAGE, count - first * PAGE);
                const uint8_t* from = stage + element * E::BYTES;
                int pitch = dim * E::BYTES, at = 0;
                for (; at + 4 <= end; at += 4) {
                    float2 value[4];
#pragma unroll
                    for (int i = 0; i < 4; i++) value[i] = E::two(from + (at + i) * pitch);
#pragma unroll
                    for (int k = 0; k < OWN; k++) {
                        float4 with = *reinterpret_cast<const float4*>(&weights[set + k * SETS][first * PAGE + at]);
                        add(value[0], k, with.x);
                        add(value[1], k, with.y);
                        add(value[2], k, with.z);
                        add(value[3], k, with.w);
                    }
                }
                for (; at < end; at++) {
                    float2 value = E::two(from + at * pitch);
#pragma unroll
                    for (int k = 0; k < OWN; k++) add(value, k, weights[set + k * SETS][first * PAGE + at]);
                }
            }
            __syncthreads();
        }
#pragma unroll
        for (int q = 0; q < Q; q++) {
            if (set >= SETS || q % SETS != set || q >= own.count) continue;
            size_t at = (size_t)(own.number + q) * (kept.positions / PART) + part;
            *reinterpret_cast<float2*>(kept.parts + at * dim + element) = sums[q / SETS];
        }
    }
}

// Adds up exponentials, unless `soften_rows` did, and parts: rows of attention, quantized. Grid: heads * head_dim / 4 /
// block x rows.
extern "C" __global__ void __launch_bounds__(BLOCK)
    combine_rows(const Token* tokens, Shape shape, Kept kept, int softened, Rows out) {
    // Of as many heads as a block has elements of.
    __shared__ float inverse[4 * BLOCK / LANES];
    begin();
    size_t row = kept.first_row + blockIdx.y;
    int dim = shape.head_dim, columns = shape.heads * dim;
    int first = blockIdx.x * 4 * BLOCK, end = min(first + 4 * BLOCK, columns), first_head = first / dim;
    int positions = tokens[row].position + 1;
    size_t number = (size_t)blockIdx.y * shape.heads;
    int at = first + 4 * threadIdx.x, head = at / dim;
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (at < end) {
        const float* parts = kept.parts + (number + head) * (kept.positions / PART) * dim + at % dim;
#pragma unroll 4
        for (int part = 0; part * PART < positions; part++) {
            float4 more = *reinterpret_cast<const float4*>(parts + (size_t)part * dim);
            sum.x = __fadd_rn(sum.x, more.x);
            sum.y = __fadd_rn(sum.y, more.y);
            sum.z = __fadd_rn(sum.z, more.z);
            sum.w = __fadd_rn(sum.w, more.w);
        }
    }
    for (int head = first_head + threadIdx.x / LANES; head * dim < end; head += BLOCK / LANES) {
        if (softened) {
            if (threadIdx.x % LANES == 0) inverse[head - first_head] = kept.inverse[number + head];
            continue;
        }
        const float* weights = kept.scores + (number + head) * kept.positions;
        float total = 0.0f;
#pragma unroll 32
        for (int i = threadIdx.x % LANES; i < (positions + PAGE - 1) / PAGE * PAGE; i += LANES) {
            total = __fadd_rn(total, weights[i]);
        }
#pragma unroll
        for (int apart = LANES / 2; apart > 0; apart /= 2) {
            // The other half of the warp may have no head.
            total = __fadd_rn(total, __shfl_down_sync(0xffffu << (threadIdx.x & 16), total, apart, LANES));
        }
        if (threadIdx.x % LANES == 0) inverse[head - first_head] = positions > 0 ? __fdiv_rn(1.0f, total) : 0.0f;
    }
    __syncthreads();
    if (at >= end) return;
    float with = inverse[head - first_head];
    float4 value = make_float4(__fmul_rn(sum.x, with), __fmul_rn(sum.y, with), __fmul_rn(sum.z, with), __fmul_rn(sum.w, with));
    Rows to = row_of(out, blockIdx.y, columns);
    put_four(value, at, to.values, to.codes, to.groups);
}

#define WEIGH(NAME, E, Q, SETS)                                                                                   \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                                           \
        weigh_##NAME##_##Q##_##SETS(const Token* tokens, const unsigned long long* pages,      \
                                    Shape shape, Layout layout, int group, Kept kept, int stage_bytes) {          \
        weigh<E, Q, SETS>(tokens, pages, shape, layout, group, kept, stage_bytes);                         \
    }
#define ATTEND(NAME, E, Q)                                                                                        \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                                           \
        score_##NAME##_##Q(const float* queries, const Token* tokens,                          \
                           const unsigned long long* pages, Shape shape, Layout layout, int group, Kept kept) {   \
        score<E, Q>(queries, tokens, pages, shape, layout, group, kept);                                   \
    }                                                                                                             \
    WEIGH(NAME, E, Q, 1) WEIGH(NAME, E, Q, 2) WEIGH(NAME, E, Q, 4)
#define CACHE(NAME, E)                                                                                            \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                                           \
        place_##NAME(const float* products, const Token* tokens, const unsigned long long* pages,                 \
                     const float2* angles, const float* bias, const float* query_norm, const float* key_norm,     \
                     Shape shape, Layout layout, float* query) {                                                  \
        place<E>(products, tokens, pages, angles, bias, query_norm, key_norm, shape, layout, query);              \
    }                                                                                                             \
    ATTEND(NAME, E, 4) ATTEND(NAME, E, 8) ATTEND(NAME, E, 16)
CACHE(f16, KvF16)
CACHE(f32, KvF32)
CACHE(q8, KvQ8)
