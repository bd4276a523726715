// Attention over a paged KV cache: keys and values take their place, and tokens that are generated look back at all.
#include "attention.cuh"

constexpr int BLOCK = 256;
// A warp for each page of a PART.
static_assert(BLOCK / WARP == PART / PAGE && BLOCK == PART && BLOCK == 16 * LANES);
// Most elements of a head.
constexpr int MOST_HEAD = 256;

// From a token's products to its query, and its key and value in the cache: biases, norms of heads, rotation. A warp for
// each head; queries are scaled for attention. `products` has queries, keys and values of a token one after the other;
// `angles` cosine and sine of each pair.
template <typename E>
__device__ __forceinline__ void place(const float* products, const Token* tokens, const unsigned long long* pages,
                                      const float2* angles, const float* bias, const float* query_norm,
                                      const float* key_norm, const Shape& shape, const Layout& layout, float* query) {
    constexpr int WARPS_OF_BLOCK = 4;
    __shared__ float shared[WARPS_OF_BLOCK][MOST_HEAD];
    int lane = threadIdx.x % WARP, head = blockIdx.x * WARPS_OF_BLOCK + threadIdx.x / WARP, all = shape.heads + 2 * shape.kv_heads;
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

// What a token that is generated looks back at: a block takes every so many PARTs, of whose values it brings `stage_bytes`
// into shared memory at once. Scores first, a warp for a page and a lane for a position of it; then exponentials; then
// the values weighted with them, a thread for two elements and Q / SETS queries.
template <typename E, int Q, int SETS>
__device__ __forceinline__ void look_back(const float* queries, const Token* tokens, const unsigned long long* pages,
                                          const Shape& shape, const Layout& layout, int group, const Kept& kept,
                                          int stage_bytes) {
    constexpr int PAGES = PART / PAGE, OWN = Q / SETS;
    extern __shared__ __align__(16) uint8_t stage[];
    __shared__ __align__(16) float weights[Q][PART];
    __shared__ float of_pages[Q][PAGES];
    __shared__ const uint8_t* heads[PAGES];
    float* query = reinterpret_cast<float*>(stage + stage_bytes);
    int dim = shape.head_dim, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    begin();
    Queries own(tokens, shape, group, kept);
    int part = blockIdx.x;
    if (part * PART > own.limit) return;
    int page_bytes = PAGE * dim * E::BYTES, together = min(PAGES, stage_bytes / page_bytes);
    int pairs = dim / 2, set = threadIdx.x / pairs, element = 2 * (threadIdx.x % pairs);
#pragma unroll
    for (int q = 0; q < Q; q++) {
        for (int i = threadIdx.x; i < dim; i += BLOCK) {
            query[q * dim + i] = q < own.count ? queries[(size_t)(own.first + q) * dim + i] : 0.0f;
        }
    }
    for (; part * PART <= own.limit; part += gridDim.x) {
        int count = min(PART, own.limit + 1 - part * PART), of_part = (count + PAGE - 1) / PAGE;
        if ((int)threadIdx.x < of_part) {
            heads[threadIdx.x] = reinterpret_cast<const uint8_t*>(pages[own.first_page + part * PAGES + threadIdx.x]) +
                                 (long long)own.kv_head * layout.head;
        }
        __syncthreads();
        auto bring_values = [&](int first) {
            for (int page = 0; page < min(together, of_part - first); page++) {
                const uint8_t* from = heads[first + page] + layout.values;
                unsigned to = (unsigned)__cvta_generic_to_shared(stage + page * page_bytes);
#pragma unroll 4
                for (int i = threadIdx.x * 16; i < page_bytes; i += BLOCK * 16) {
                    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to + i), "l"(from + i));
                }
            }
            asm volatile("cp.async.commit_group;");
        };
        // So many loads are on their way at once, the first of them before those of the values.
        constexpr int EIGHTS = 32 / E::BYTES;
        typename E::Eight eights[EIGHTS];
        const uint8_t* keys = heads[min(warp, of_part - 1)] + layout.keys + lane * 8 * E::BYTES;
        auto load_keys = [&](int first) {
#pragma unroll
            for (int i = 0; i < EIGHTS; i++) {
                if (first + i < dim / 8) eights[i] = load_eight<E>(keys + (size_t)(first + i) * PAGE * 8 * E::BYTES);
            }
        };
        load_keys(0);
        bring_values(0);
        float scores[Q] = {};
        if (warp < of_part) {
            for (int first = 0; first < dim / 8; first += EIGHTS) {
                if (first > 0) load_keys(first);
#pragma unroll
                for (int k = 0; k < EIGHTS; k++) {
                    if (first + k >= dim / 8) break;
                    float key[8];
                    E::floats(eights[k], key);
#pragma unroll
                    for (int q = 0; q < Q; q++) {
                        const float4* with = reinterpret_cast<const float4*>(query + q * dim + (first + k) * 8);
                        float4 one = with[0], two = with[1];
                        const float all[8] = {one.x, one.y, one.z, one.w, two.x, two.y, two.z, two.w};
#pragma unroll
                        for (int i = 0; i < 8; i++) scores[q] = __fmaf_rn(key[i], all[i], scores[q]);
                    }
                }
            }
            if constexpr (E::SCALED) {
                float scale = reinterpret_cast<const float*>(heads[warp] + layout.keys + dim * PAGE)[lane];
#pragma unroll
                for (int q = 0; q < Q; q++) scores[q] = __fmul_rn(scores[q], scale);
            }
        }
#pragma unroll
        for (int q = 0; q < Q; q++) {
            if ((int)threadIdx.x >= count) scores[q] = -INFINITY;
            float largest = warp_max(scores[q]);
            if (lane == 0) of_pages[q][warp] = largest;
        }
        __syncthreads();
        float largest[Q];
#pragma unroll
        for (int q = 0; q < Q; q++) {
            largest[q] = of_pages[q][0];
#pragma unroll
            for (int page = 1; page < PAGES; page++) largest[q] = fmaxf(largest[q], of_pages[q][page]);
            bool here = (int)threadIdx.x < count;
            weights[q][threadIdx.x] = here ? exp_of(__fadd_rn(scores[q], -largest[q])) : 0.0f;
        }
        __syncthreads();
        // The sums of exponentials, in the CPU's lanes; 16 threads for a query.
        float total = 0.0f;
        if ((int)threadIdx.x < Q * LANES) {
#pragma unroll
            for (int i = 0; i < PART; i += LANES) total = __fadd_rn(total, weights[threadIdx.x / LANES][i + threadIdx.x % LANES]);
        }
        total = sum_of_lanes(total);
        if (threadIdx.x % LANES == 0 && (int)threadIdx.x < own.count * LANES) {
            int q = threadIdx.x / LANES;
            float of_part = largest[0];
#pragma unroll
            for (int i = 1; i < Q; i++) of_part = i == q ? largest[i] : of_part;
            kept.of_parts[(size_t)(own.number + q) * kept.part_count + part] = make_float2(of_part, total);
        }
        if constexpr (E::SCALED) {
            __syncthreads();
            if ((int)threadIdx.x < count) {
                float scale = reinterpret_cast<const float*>(heads[warp] + layout.values + dim * PAGE)[lane];
#pragma unroll
                for (int q = 0; q < Q; q++) weights[q][threadIdx.x] = __fmul_rn(weights[q][threadIdx.x], scale);
            }
        }
        float2 sums[OWN];
#pragma unroll
        for (int k = 0; k < OWN; k++) sums[k] = make_float2(0.0f, 0.0f);
        for (int first = 0; first < of_part; first += together) {
            if (first > 0) bring_values(first);
            asm volatile("cp.async.wait_all;" ::: "memory");
            __syncthreads();
            if (set < SETS) {
                auto add = [&](float2 value, int k, float weight) {
                    sums[k].x = __fmaf_rn(value.x, weight, sums[k].x);
                    sums[k].y = __fmaf_rn(value.y, weight, sums[k].y);
                };
                int end = min(min(together, of_part - first) * PAGE, count - first * PAGE);
                const uint8_t* from = stage + element * E::BYTES;
                int pitch = dim * E::BYTES, at = 0;
#pragma unroll 4
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
        for (int k = 0; k < OWN; k++) {
            int q = set + k * SETS;
            if (set >= SETS || q >= own.count) continue;
            size_t at = (size_t)(own.number + q) * kept.part_count + part;
            *reinterpret_cast<float2*>(kept.parts + at * dim + element) = sums[k];
        }
    }
}

// Puts parts together, those of `first_part` on and in the end: rows of attention, quantized. Where not all parts are there
// at once, what came of those before is kept meanwhile. Grid: heads * head_dim / 4 / block x rows.
extern "C" __global__ void __launch_bounds__(128)
    combine_rows(const Token* tokens, Shape shape, Kept kept, int first_part, int is_last, Rows out) {
    begin();
    size_t row = kept.first_row + blockIdx.y;
    int dim = shape.head_dim, columns = shape.heads * dim;
    int at = 4 * (blockIdx.x * blockDim.x + threadIdx.x), head = at / dim;
    if (at >= columns) return;
    int parts = min((tokens[row].position + PART) / PART - first_part, kept.part_count);
    size_t number = (size_t)blockIdx.y * shape.heads + head;
    Softmax softmax = {-INFINITY, 0.0f};
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (first_part > 0) {
        float2 before = kept.softmaxes[(number * dim + at % dim) / 4];
        softmax = {before.x, before.y};
        sum = *reinterpret_cast<const float4*>(kept.sums + number * dim + at % dim);
    }
    for (int part = 0; part < parts; part++) {
        size_t from = number * kept.part_count + part;
        float2 factors = softmax.add(kept.of_parts[from]);
        float4 more = *reinterpret_cast<const float4*>(kept.parts + from * dim + at % dim);
        auto add = [&](float& sum, float more) {
            more = __fmul_rn(more, factors.y);
            sum = first_part + part == 0 ? more : __fmaf_rn(sum, factors.x, more);
        };
        add(sum.x, more.x), add(sum.y, more.y), add(sum.z, more.z), add(sum.w, more.w);
    }
    if (!is_last) {
        *reinterpret_cast<float4*>(kept.sums + number * dim + at % dim) = sum;
        kept.softmaxes[(number * dim + at % dim) / 4] = make_float2(softmax.largest, softmax.total);
        return;
    }
    float with = tokens[row].position >= 0 ? __fdiv_rn(1.0f, softmax.total) : 0.0f;
    float4 value = make_float4(__fmul_rn(sum.x, with), __fmul_rn(sum.y, with), __fmul_rn(sum.z, with), __fmul_rn(sum.w, with));
    Rows to = row_of(out, blockIdx.y, columns);
    put_four(value, at, to.values, to.codes, to.groups);
}

#define LOOK_BACK(NAME, E, Q, SETS)                                                                               \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                                           \
        look_back_##NAME##_##Q##_##SETS(const float* queries, const Token* tokens,                                \
                                        const unsigned long long* pages, Shape shape, Layout layout, int group,   \
                                        Kept kept, int stage_bytes) {                                             \
        look_back<E, Q, SETS>(queries, tokens, pages, shape, layout, group, kept, stage_bytes);                   \
    }
#define CACHE(NAME, E)                                                                                            \
    extern "C" __global__ void __launch_bounds__(128)                                                             \
        place_##NAME(const float* products, const Token* tokens, const unsigned long long* pages,                 \
                     const float2* angles, const float* bias, const float* query_norm, const float* key_norm,     \
                     Shape shape, Layout layout, float* query) {                                                  \
        place<E>(products, tokens, pages, angles, bias, query_norm, key_norm, shape, layout, query);              \
    }                                                                                                             \
    LOOK_BACK(NAME, E, 4, 2) LOOK_BACK(NAME, E, 4, 4) LOOK_BACK(NAME, E, 8, 2) LOOK_BACK(NAME, E, 8, 4)           \
    LOOK_BACK(NAME, E, 8, 8) LOOK_BACK(NAME, E, 16, 2) LOOK_BACK(NAME, E, 16, 4) LOOK_BACK(NAME, E, 16, 8)
CACHE(f16, KvF16)
CACHE(f32, KvF32)
CACHE(q8, KvQ8)
