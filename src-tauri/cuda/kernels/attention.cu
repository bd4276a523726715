// Attention over a paged KV cache: keys and values take their place, and tokens that are generated look back at all.
#include "attention.cuh"

constexpr int BLOCK = 256;
// A warp for each page of a PART.
static_assert(BLOCK / WARP == PART / PAGE && BLOCK == PART && BLOCK == 16 * LANES);
// Most elements of a head.
constexpr int MOST_HEAD = 256;

// Head `head` of a row's products, as it goes on, in `x`: with its bias, normed, turned, and scaled where it is a query.
// Done by a warp.
__device__ __forceinline__ void make_head(const Products& products, const Shape& shape, size_t row, int head, float* x) {
    int lane = threadIdx.x % WARP, dim = shape.head_dim, all = shape.heads + 2 * shape.kv_heads;
    const float* from = products.values + (row * all + head) * dim;
    const float* bias = products.bias;
    bool is_query = head < shape.heads, is_value = head >= shape.heads + shape.kv_heads;
    for (int i = lane; i < dim; i += WARP) x[i] = bias ? __fadd_rn(from[i], bias[head * dim + i]) : from[i];
    __syncwarp();
    if (is_value) return;
    const float* norm = is_query ? products.query_norm : products.key_norm;
    if (norm) {
        float sum = 0.0f;
        for (int i = lane % LANES; i < dim; i += LANES) sum = __fmaf_rn(x[i], x[i], sum);
        sum = __shfl_sync(ALL, sum_of_lanes(sum), 0);
        float factor = norm_factor(sum, dim, shape.epsilon);
        __syncwarp();
        for (int i = lane; i < dim; i += WARP) x[i] = __fmul_rn(__fmul_rn(x[i], factor), norm[i]);
        __syncwarp();
    }
    int pairs = shape.rotated / 2;
    for (int i = lane; i < pairs; i += WARP) {
        int one = shape.halves ? i : 2 * i, two = shape.halves ? i + pairs : 2 * i + 1;
        float2 turn = products.angles[row * pairs + i];
        float a = x[one], b = x[two];
        x[one] = __fsub_rn(__fmul_rn(a, turn.x), __fmul_rn(b, turn.y));
        x[two] = __fadd_rn(__fmul_rn(a, turn.y), __fmul_rn(b, turn.x));
    }
    __syncwarp();
    if (!is_query) return;
    float scale = __fdiv_rn(1.0f, __fsqrt_rn((float)dim));
    for (int i = lane; i < dim; i += WARP) x[i] = __fmul_rn(x[i], scale);
}

// Puts a key, or a value, into `slot` of its head's part of a page. Done by a warp.
template <typename E>
__device__ __forceinline__ void keep_head(const float* x, int dim, bool is_value, uint8_t* to, int slot) {
    int lane = threadIdx.x % WARP;
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

// From the products of a prompt's tokens to their queries, and their keys and values in the cache: a warp for each head.
// Grid: heads / 4 x rows from `first_row` on.
template <typename E>
__device__ __forceinline__ void place(const Products& products, const Token* tokens, const unsigned long long* pages,
                                      const Shape& shape, const Layout& layout, int first_row, float* query) {
    constexpr int WARPS_OF_BLOCK = 4;
    __shared__ float shared[WARPS_OF_BLOCK][MOST_HEAD];
    int lane = threadIdx.x % WARP, head = blockIdx.x * WARPS_OF_BLOCK + threadIdx.x / WARP;
    begin();
    size_t row = first_row + blockIdx.y;
    Token token = tokens[row];
    if (head >= shape.heads + 2 * shape.kv_heads || token.position < 0) return;
    float* x = shared[threadIdx.x / WARP];
    int dim = shape.head_dim;
    make_head(products, shape, row, head, x);
    if (head < shape.heads) {
        float* to = query + (row * shape.heads + head) * dim;
        for (int i = lane; i < dim; i += WARP) to[i] = x[i];
        return;
    }
    bool is_value = head >= shape.heads + shape.kv_heads;
    int kv_head = (head - shape.heads) % shape.kv_heads;
    uint8_t* page = reinterpret_cast<uint8_t*>(pages[token.first_page + token.position / PAGE]);
    uint8_t* to = page + (is_value ? layout.values : layout.keys) + (long long)kv_head * layout.head;
    keep_head<E>(x, dim, is_value, to, token.position % PAGE);
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

// Four elements of attention, from element `at` of a query's head on, of the parts that there are; `number` is the query's
// among those of `kept`.
__device__ __forceinline__ float4 combine(const Kept& kept, size_t number, int dim, int at, int parts, bool is_first,
                                          Softmax& softmax, float4 sum) {
    for (int part = 0; part < parts; part++) {
        size_t from = number * kept.part_count + part;
        float2 factors = softmax.add(__ldcg(kept.of_parts + from));
        float4 more = __ldcg(reinterpret_cast<const float4*>(kept.parts + from * dim + at));
        auto add = [&](float& sum, float more) {
            more = __fmul_rn(more, factors.y);
            sum = is_first && part == 0 ? more : __fmaf_rn(sum, factors.x, more);
        };
        add(sum.x, more.x), add(sum.y, more.y), add(sum.z, more.z), add(sum.w, more.w);
    }
    return sum;
}

// What the weighted values have come to, over the sum of their weights.
__device__ __forceinline__ float4 over_total(float4 sum, float total) {
    float with = __fdiv_rn(1.0f, total);
    return make_float4(__fmul_rn(sum.x, with), __fmul_rn(sum.y, with), __fmul_rn(sum.z, with), __fmul_rn(sum.w, with));
}

// What a token that is generated looks back at, from its products on: a block takes every so many PARTs, of whose values it
// brings `stage_bytes` into shared memory at once. Its own key and value are kept by who has the last part, and where `out`
// is, whoever is last puts the parts together. Scores first, a warp for a page and a lane for a position of it; then
// exponentials; then the values weighted with them, a thread for two elements and Q / SETS queries.
template <typename E, int Q, int SETS>
__device__ __forceinline__ void look_back(const Products& products, const Token* tokens, const unsigned long long* pages,
                                          const Shape& shape, const Layout& layout, int group, const Kept& kept,
                                          int stage_bytes, const Rows& out) {
    constexpr int PAGES = PART / PAGE, OWN = Q / SETS;
    extern __shared__ __align__(16) uint8_t stage[];
    __shared__ __align__(16) float weights[Q][PART];
    __shared__ float of_pages[Q][PAGES];
    __shared__ uint8_t* heads[PAGES];
    __shared__ float fresh[2][MOST_HEAD];
    float* query = reinterpret_cast<float*>(stage + stage_bytes);
    int dim = shape.head_dim, lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    // Where tokens are, and what lies in their pages, is older than the kernel before this one.
    Queries own(tokens, shape, group, kept);
    int part = blockIdx.x, parts = own.limit / PART + 1;
    if (part * PART > own.limit) {
        begin();
        return;
    }
    int page_bytes = PAGE * dim * E::BYTES, together = min(PAGES, stage_bytes / page_bytes);
    int pairs = dim / 2, set = threadIdx.x / pairs, element = 2 * (threadIdx.x % pairs);
    bool has_begun = false;
    for (; part < parts; part += gridDim.x) {
        int count = min(PART, own.limit + 1 - part * PART), of_part = (count + PAGE - 1) / PAGE;
        if ((int)threadIdx.x < of_part) {
            heads[threadIdx.x] = reinterpret_cast<uint8_t*>(pages[own.first_page + part * PAGES + threadIdx.x]) +
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
        if (!has_begun) {
            has_begun = true;
            begin();
            int key_head = shape.heads + own.kv_head;
            for (int q = warp; q < Q; q += BLOCK / WARP) {
                if (q < own.count) {
                    make_head(products, shape, blockIdx.z, own.first - blockIdx.z * shape.heads + q, query + q * dim);
                } else {
                    for (int i = lane; i < dim; i += WARP) query[q * dim + i] = 0.0f;
                }
            }
            // The last two warps: the first have queries.
            int half = warp - (BLOCK / WARP - 2);
            if (half >= 0 && blockIdx.x == (parts - 1) % gridDim.x) {
                make_head(products, shape, blockIdx.z, key_head + half * shape.kv_heads, fresh[half]);
            }
            __syncthreads();
        }
        bool has_newest = part == parts - 1;
        if (has_newest) {
            int half = warp - (BLOCK / WARP - 2);
            uint8_t* last = heads[of_part - 1];
            if (half >= 0) {
                keep_head<E>(fresh[half], dim, half == 1, last + (half == 1 ? layout.values : layout.keys), own.limit % PAGE);
            }
            __syncthreads();
            // What was on its way lacks the newest.
            if (warp == of_part - 1 && lane == own.limit % PAGE) load_keys(0);
        }
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
            if (has_newest && first + together >= of_part) {
                // What was on its way lacks the newest.
                const uint8_t* from = heads[of_part - 1] + layout.values;
                uint8_t* to = stage + (of_part - 1 - first) * page_bytes;
                int at = own.limit % PAGE * dim * E::BYTES;
                for (int i = 4 * threadIdx.x; i < dim * E::BYTES; i += 4 * BLOCK) {
                    *reinterpret_cast<uint32_t*>(to + at + i) = *reinterpret_cast<const uint32_t*>(from + at + i);
                }
                __syncthreads();
            }
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
    if (!out.codes) return;
    __shared__ bool is_last;
    __syncthreads();
    if (threadIdx.x == 0) {
        is_last = is_last_of(min(parts, (int)gridDim.x), kept.arrived + blockIdx.z * gridDim.y + blockIdx.y);
    }
    __syncthreads();
    if (!is_last) return;
    Rows to = row_of(out, blockIdx.z, shape.heads * dim);
    int first_element = (own.first - blockIdx.z * shape.heads) * dim;
    for (int at = 4 * threadIdx.x; at < own.count * dim; at += 4 * BLOCK) {
        Softmax softmax = {-INFINITY, 0.0f};
        float4 sum = combine(kept, own.number + at / dim, dim, at % dim, parts, true, softmax, float4{});
        put_four(over_total(sum, softmax.total), first_element + at, to.values, to.codes, to.groups);
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
    int position = tokens[row].position, parts = min((position + PART) / PART - first_part, kept.part_count);
    if (position < 0) return;
    size_t number = (size_t)blockIdx.y * shape.heads + head;
    Softmax softmax = {-INFINITY, 0.0f};
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    if (first_part > 0) {
        float2 before = kept.softmaxes[(number * dim + at % dim) / 4];
        softmax = {before.x, before.y};
        sum = *reinterpret_cast<const float4*>(kept.sums + number * dim + at % dim);
    }
    sum = combine(kept, number, dim, at % dim, parts, first_part == 0, softmax, sum);
    if (!is_last) {
        *reinterpret_cast<float4*>(kept.sums + number * dim + at % dim) = sum;
        kept.softmaxes[(number * dim + at % dim) / 4] = make_float2(softmax.largest, softmax.total);
        return;
    }
    Rows to = row_of(out, blockIdx.y, columns);
    put_four(over_total(sum, softmax.total), at, to.values, to.codes, to.groups);
}

#define LOOK_BACK(NAME, E, Q, SETS)                                                                               \
    extern "C" __global__ void __launch_bounds__(BLOCK)                                                           \
        look_back_##NAME##_##Q##_##SETS(Products products, const Token* tokens, const unsigned long long* pages,  \
                                        Shape shape, Layout layout, int group, Kept kept, int stage_bytes,        \
                                        Rows out) {                                                               \
        look_back<E, Q, SETS>(products, tokens, pages, shape, layout, group, kept, stage_bytes, out);             \
    }
#define CACHE(NAME, E)                                                                                            \
    extern "C" __global__ void __launch_bounds__(128)                                                             \
        place_##NAME(Products products, const Token* tokens, const unsigned long long* pages, Shape shape,        \
                     Layout layout, int first_row, float* query) {                                                \
        place<E>(products, tokens, pages, shape, layout, first_row, query);                                       \
    }                                                                                                             \
    LOOK_BACK(NAME, E, 4, 2) LOOK_BACK(NAME, E, 4, 4) LOOK_BACK(NAME, E, 8, 2) LOOK_BACK(NAME, E, 8, 4)           \
    LOOK_BACK(NAME, E, 8, 8) LOOK_BACK(NAME, E, 16, 2) LOOK_BACK(NAME, E, 16, 4) LOOK_BACK(NAME, E, 16, 8)
CACHE(f16, KvF16)
CACHE(f32, KvF32)
CACHE(q8, KvQ8)
