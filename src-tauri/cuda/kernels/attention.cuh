// What the attention of tokens that are generated and of prompts share.
#pragma once
#include "common.cuh"

// Positions of a page.
constexpr int PAGE = 32;
// Positions whose weighted values are added up one after the other, and then those sums, as on the CPU: `PART` of
// tektra-kernels.
constexpr int PART = 256;

// A token of a step. Where it is in its sequence, which says how far it sees, and where its sequence's pages begin in
// the list of pages. A position below 0: nothing is there.
struct Token {
    int position;
    int first_page;
};

// How a layer's keys and values lie in a page. In bytes.
struct Layout {
    // Keys of one head, as of values: the elements of PAGE positions, then scales where the type has them. Keys lie in
    // eights: eight elements of each position after the other; values position by position.
    int head;
    long long keys;
    long long values;
};

struct Shape {
    int heads;
    int kv_heads;
    int head_dim;
    int rotated;
    // Whether elements i and i + rotated / 2 turn together instead of neighbours.
    int halves;
    float epsilon;
};

// Elements of the cache; eight that lie beside each other are loaded at once, and are 0.0 where all bits are.
struct KvF16 {
    static constexpr int BYTES = 2;
    static constexpr bool SCALED = false;
    static __device__ __forceinline__ void put(uint8_t* to, int at, float value, float) {
        reinterpret_cast<__half*>(to)[at] = __float2half_rn(value);
    }
    using Eight = uint4;
    static __device__ __forceinline__ void floats(Eight bits, float (&out)[8]) {
        const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float2 two = __half22float2(*reinterpret_cast<const __half2*>(&words[i]));
            out[2 * i] = two.x, out[2 * i + 1] = two.y;
        }
    }
    static __device__ __forceinline__ float2 two(const uint8_t* from) {
        return __half22float2(*reinterpret_cast<const __half2*>(from));
    }
};
struct KvF32 {
    static constexpr int BYTES = 4;
    static constexpr bool SCALED = false;
    static __device__ __forceinline__ void put(uint8_t* to, int at, float value, float) {
        reinterpret_cast<float*>(to)[at] = value;
    }
    struct __align__(16) Eight {
        float4 one, two;
    };
    static __device__ __forceinline__ void floats(Eight bits, float (&out)[8]) {
        out[0] = bits.one.x, out[1] = bits.one.y, out[2] = bits.one.z, out[3] = bits.one.w;
        out[4] = bits.two.x, out[5] = bits.two.y, out[6] = bits.two.z, out[7] = bits.two.w;
    }
    static __device__ __forceinline__ float2 two(const uint8_t* from) { return *reinterpret_cast<const float2*>(from); }
};
struct KvQ8 {
    static constexpr int BYTES = 1;
    static constexpr bool SCALED = true;
    static __device__ __forceinline__ void put(uint8_t* to, int at, float value, float largest) {
        reinterpret_cast<int8_t*>(to)[at] = (int8_t)code_of(value, inverse_of(largest));
    }
    using Eight = uint2;
    static __device__ __forceinline__ void floats(Eight bits, float (&out)[8]) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            out[i] = (float)(int8_t)(bits.x >> 8 * i & 255);
            out[4 + i] = (float)(int8_t)(bits.y >> 8 * i & 255);
        }
    }
    static __device__ __forceinline__ float2 two(const uint8_t* from) {
        uint16_t bits = *reinterpret_cast<const uint16_t*>(from);
        return make_float2((float)(int8_t)(bits & 255), (float)(int8_t)(bits >> 8));
    }
};

template <typename E>
__device__ __forceinline__ typename E::Eight load_eight(const uint8_t* from) {
    return *reinterpret_cast<const typename E::Eight*>(from);
}

// What becomes of a step's products: queries, keys and values of a token one after the other.
struct Products {
    const float* values;
    // Cosine and sine of each pair of each row.
    const float2* angles;
    // Null where there is none: what is added to each, and the norms of queries' heads and of keys'.
    const float* bias;
    const float* query_norm;
    const float* key_norm;
};

// What attention keeps from kernel to kernel, for each row from `first_row` on and each query head.
struct Kept {
    // Of prompts: the scores of SPAN positions, and the largest of each page of them.
    float* scores;
    float* largest;
    // Of each PART of `part_count`: values weighted with e^(score - the part's largest), added up; that largest, and the
    // sum of those exponentials.
    float* parts;
    float2* of_parts;
    // Of prompts: what the spans before came to, weighted values, and the Softmax with each four of them.
    float* sums;
    float2* softmaxes;
    // Of tokens that are generated: how many blocks have done their parts of a row and its key and value head.
    unsigned* arrived;
    int first_row;
    int part_count;
};

// Positions of a prompt's sequence that are looked back at together.
constexpr int SPAN = 1024;

// What the parts of a query's softmax have come to: the largest score, and the sum of e^(score - largest). As `Softmax` of
// tektra-kernels.
struct Softmax {
    float largest, total;

    // Takes in another part. Returns what the sums of weighted values before it are to be multiplied with, and those of
    // this part.
    __device__ __forceinline__ float2 add(float2 part) {
        float of_all = fmaxf(largest, part.x);
        float before = exp_of(__fsub_rn(largest, of_all)), now = exp_of(__fsub_rn(part.x, of_all));
        total = __fadd_rn(__fmul_rn(total, before), __fmul_rn(part.y, now));
        largest = of_all;
        return make_float2(before, now);
    }
};
