// The attention of one token: the queries of a group of heads over the keys and the values of one key-value head.
//
// Keys stand in tiles of TILE slots, [slots / TILE, D, TILE], so that a vector holds one number of many keys and no sum goes
// across a vector; values stand [slots, D].

#pragma once

#include "products.h"

namespace {

constexpr Int TILE = 16;
constexpr int TILE_PARTS = TILE / WIDE, SCORED_TILES = 2;
// Bytes to fetch ahead, less than of weights: a sequence may be short.
constexpr Int NEAR = 2048;

// exp to float precision, in a form that compilers turn into vector code (Cephes' polynomial).
inline float exponential(float x) {
    x = std::min(std::max(x, -87.0f), 88.0f);
    const float n = std::floor(x * 1.44269504f + 0.5f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof power);
    return p * power;
}

inline void store(float value, float* to) { *to = value; }

inline void store(float value, uint16_t* to) { *to = narrowed(value); }

template <typename Number>
void store_key(const float* key, Int width, Int slot, Number* head) {
    Number* to = head + slot / TILE * TILE * width + slot % TILE;
    for (Int i = 0; i < width; ++i) store(key[i], to + i * TILE);
}

template <typename Number>
void store_value(const float* value, Int width, Int slot, Number* head) {
    for (Int i = 0; i < width; ++i) store(value[i], head + slot * width + i);
}

inline float as_float(float value) { return value; }

inline float as_float(uint16_t value) { return widened(value); }

// The scores of HEADS queries, [HEADS, width], in COUNT tiles of keys.
template <int HEADS, int COUNT, typename Number>
void score_tiles(const float* queries, const Number* tiles, Int width, float* scores, Int line) {
    Vector sums[HEADS][COUNT * TILE_PARTS] = {};
    for (Int i = 0; i < width; ++i)
#pragma GCC unroll 8
        for (int part = 0; part < COUNT * TILE_PARTS; ++part) {
            const Int tile = part / TILE_PARTS, inside = part % TILE_PARTS * WIDE;
            __builtin_prefetch(reinterpret_cast<const char*>(tiles + (tile * width + i) * TILE + inside) + NEAR);
            const Vector keys = widened(tiles + (tile * width + i) * TILE + inside);
#pragma GCC unroll 8
            for (int h = 0; h < HEADS; ++h) sums[h][part] += keys * queries[h * width + i];
        }
    for (int h = 0; h < HEADS; ++h) std::memcpy(scores + h * line, sums[h], sizeof sums[h]);
}

// The sums of COLUMNS vectors of the values, each slot's times its share, for HEADS heads.
template <int HEADS, int COLUMNS, typename Number>
void mean_columns(const float* shares, Int line, const Number* values, Int first, Int end, Int width, float* out) {
    Vector sums[HEADS][COLUMNS] = {};
    for (Int slot = first; slot < end; ++slot)
#pragma GCC unroll 8
        for (int column = 0; column < COLUMNS; ++column) {
            __builtin_prefetch(reinterpret_cast<const char*>(values + slot * width + column * WIDE) + NEAR);
            const Vector wide = widened(values + slot * width + column * WIDE);
#pragma GCC unroll 8
            for (int h = 0; h < HEADS; ++h) sums[h][column] += wide * shares[h * line + slot];
        }
    for (int h = 0; h < HEADS; ++h) std::memcpy(out + h * width, sums[h], sizeof sums[h]);
}

// Slots [first, end) of a head are seen; scores: room for HEADS lines of `end` and a tile, each a whole number of tiles.
template <int HEADS, typename Number>
void see(const float* queries, const Number* keys, const Number* values, Int first, Int end, Int width, float* scores,
         float* out) {
    const Int line = padded(end, TILE), from = first / TILE * TILE;
    Int slot = from;
    for (; slot + SCORED_TILES * TILE <= line; slot += SCORED_TILES * TILE)
        score_tiles<HEADS, SCORED_TILES>(queries, keys + slot * width, width, scores + slot, line);
    for (; slot < line; slot += TILE) score_tiles<HEADS, 1>(queries, keys + slot * width, width, scores + slot, line);
    for (int h = 0; h < HEADS; ++h) {
        float *mine = scores + h * line, most = -INFINITY, total = 0;
#pragma omp simd reduction(max : most)
        for (Int i = first; i < end; ++i) most = std::max(most, mine[i]);
#pragma omp simd reduction(+ : total)
        for (Int i = first; i < end; ++i) total += mine[i] = exponential(mine[i] - most);
        const float share = 1.0f / total;
        for (Int i = first; i < end; ++i) mine[i] *= share;
    }
    Int column = 0;
    for (; column + 4 * WIDE <= width; column += 4 * WIDE)
        mean_columns<HEADS, 4>(scores, line, values + column, first, end, width, out + column);
    for (; column + WIDE <= width; column += WIDE)
        mean_columns<HEADS, 1>(scores, line, values + column, first, end, width, out + column);
    for (; column < width; ++column)
        for (int h = 0; h < HEADS; ++h) {
            float sum = 0;
            for (Int i = first; i < end; ++i) sum += scores[h * line + i] * as_float(values[i * width + column]);
            out[h * width + column] = sum;
        }
}

// The same for a group of any size.
template <typename Number>
void see_group(const float* queries, Int group, const Number* keys, const Number* values, Int first, Int end, Int width,
               float* scores, float* out) {
    Int h = 0;
    for (; h + 4 <= group; h += 4)
        see<4>(queries + h * width, keys, values, first, end, width, scores, out + h * width);
    if (h + 3 == group) return see<3>(queries + h * width, keys, values, first, end, width, scores, out + h * width);
    if (h + 2 == group) return see<2>(queries + h * width, keys, values, first, end, width, scores, out + h * width);
    if (h + 1 == group) see<1>(queries + h * width, keys, values, first, end, width, scores, out + h * width);
}

}  // namespace
