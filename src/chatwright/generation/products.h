// Rows of numbers times a matrix, whose weights are float32, bfloat16, or integers of eight or four bits.
//
// A matrix comes in panels of LANES outputs, which are read in order, once for as many rows as the registers hold. What a
// row gives does not depend on the rows beside it, to the last bit.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__AVX512VNNI__) && defined(__AVX512F__)
#include <immintrin.h>
#define HAS_DOT4
#endif

using Int = int64_t;

extern "C" {

// Panels of LANES outputs, one every `stride` bytes. A panel by kind:
// FLOAT, HALF: [inputs, LANES].
// INT8: for each group of inputs bytes u [GROUP / QUAD, LANES, QUAD], then scales; a weight is scale · (u − 128).
// INT4: for each group of inputs bytes [GROUP / 2·QUAD, LANES, QUAD], the low four bits before the high ones, then scales,
// then least values; a weight is scale · u + least.
// Scales and least values: [LANES] bfloat16. Inputs are padded to whole groups.
struct Matrix {
    Int kind, inputs, outputs, stride;
    const char* weights;
    const float* bias;  // [outputs] or null
};
}

namespace {

enum Kind : Int { FLOAT, HALF, INT8, INT4 };

#if defined(__AVX512F__)
constexpr int BYTES = 64, MOST_ROWS = 8;
#elif defined(__AVX__)
constexpr int BYTES = 32, MOST_ROWS = 2;
#else
constexpr int BYTES = 16, MOST_ROWS = 1;
#endif
constexpr int LANES = 32, WIDE = BYTES / 4, PARTS = LANES / WIDE;
constexpr Int GROUP = 32;
typedef float Vector __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(BYTES), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(BYTES / 2), aligned(2), may_alias));
typedef uint8_t Bytes __attribute__((vector_size(BYTES / 4), aligned(1), may_alias));
// Bytes to fetch ahead: the processor's own prefetching stops at every page.
constexpr Int AHEAD = 4096;

inline float widened(uint16_t half) {
    const uint32_t bits = static_cast<uint32_t>(half) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline Vector widened(const uint16_t* halves) {
    const Ints bits = __builtin_convertvector(*reinterpret_cast<const Halves*>(halves), Ints) << 16;
    return reinterpret_cast<const Vector&>(bits);
}

inline Vector widened(const float* values) { return *reinterpret_cast<const Vector*>(values); }

inline uint16_t narrowed(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);  // to the nearest, ties to even
}

inline Int padded(Int size, Int group) { return (size + group - 1) / group * group; }

// Memory for the left side of a product, which a team of threads shares.
struct Room {
    std::vector<float> values, scales;
    std::vector<int8_t> levels;
    std::vector<int32_t> sums;

    Room(Int rows, Int widest) : values(rows * padded(widest, GROUP)) {
#ifdef HAS_DOT4
        levels.resize(values.size());
        scales.resize(values.size() / GROUP);
        sums.resize(values.size() / GROUP);
#endif
    }
};

// The left side of a product: floats, or for integer weights 8 bits a number, with a scale a group.
struct Inputs {
    Int kind, inputs, width, groups;
    float *values, *scales;
    int8_t* levels;
    int32_t* sums;

    Inputs(Room& room, Int inputs, Int kind)
        : kind(kind), inputs(inputs), width(padded(inputs, kind < INT8 ? 1 : GROUP)), groups(width / GROUP),
          values(room.values.data()), scales(room.scales.data()), levels(room.levels.data()), sums(room.sums.data()) {}

    float* row(Int b) const { return values + b * width; }

    // Makes row b ready, whose `inputs` values stand in place.
    void finish(Int b) const {
        std::fill(row(b) + inputs, row(b) + width, 0.0f);
#ifdef HAS_DOT4
        if (kind < INT8) return;
        for (Int g = 0; g < groups; ++g) {
            const float* __restrict from = row(b) + g * GROUP;
            int8_t* __restrict to = levels + b * width + g * GROUP;
            float most = 0;
#pragma omp simd reduction(max : most)
            for (Int i = 0; i < GROUP; ++i) most = std::max(most, std::fabs(from[i]));
            const float factor = most > 0 ? 127.0f / most : 0.0f;
            int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
            for (Int i = 0; i < GROUP; ++i) {
                const float place = from[i] * factor;
                const int32_t whole = static_cast<int32_t>(place + std::copysign(0.5f, place));
                to[i] = static_cast<int8_t>(whole);
                sum += whole;
            }
            scales[b * groups + g] = most / 127.0f;
            sums[b * groups + g] = sum;
        }
#endif
    }
};

// Float weights: [rows, inputs] times one panel, out [rows, LANES].
template <int ROWS, typename Weight>
void times_floats(const float* x, const Weight* panel, Int rows, Int inputs, float* out) {
    for (; rows >= ROWS; rows -= ROWS, x += ROWS * inputs, out += ROWS * LANES) {
        Vector sums[ROWS][PARTS] = {};
        for (Int i = 0; i < inputs; ++i) {
            const Weight* weights = panel + i * LANES;
            for (int part = 0; part < PARTS; ++part) {
                __builtin_prefetch(reinterpret_cast<const char*>(weights + part * WIDE) + AHEAD);
                const Vector wide = widened(weights + part * WIDE);
#pragma GCC unroll 8
                for (int row = 0; row < ROWS; ++row) sums[row][part] += wide * x[row * inputs + i];
            }
        }
        Vector* to = reinterpret_cast<Vector*>(out);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 8
            for (int part = 0; part < PARTS; ++part) to[row * PARTS + part] = sums[row][part];
    }
    if constexpr (ROWS > 1)
        if (rows) times_floats<ROWS / 2>(x, panel, rows, inputs, out);
}

// Bytes of a group of a panel, and where its scales stand.
template <Kind KIND>
constexpr Int LEVELS = GROUP * LANES / (KIND == INT8 ? 1 : 2);
template <Kind KIND>
constexpr Int SIZE = LEVELS<KIND> + (KIND == INT8 ? 2 : 4) * LANES;

template <Kind KIND>
const uint16_t* scales_of(const char* panel, Int group) {
    return reinterpret_cast<const uint16_t*>(panel + group * SIZE<KIND> + LEVELS<KIND>);
}

#ifdef HAS_DOT4

constexpr int QUAD = 4, INT_ROWS = 8;

inline Ints dot4(Ints sums, Ints weights, Ints four) {
    return reinterpret_cast<Ints>(_mm512_dpbusd_epi32(
        reinterpret_cast<__m512i>(sums), reinterpret_cast<__m512i>(weights), reinterpret_cast<__m512i>(four)));
}

inline Ints four_of(const int8_t* at) {
    int32_t bits;
    std::memcpy(&bits, at, sizeof bits);
    return bits - Ints{};
}

// Integer weights: exact sums over a group, times the scales of both sides.
template <int ROWS, Kind KIND>
void times_integers(const Inputs& in, Int row, Int rows, const char* panel, float* out) {
    constexpr int NIBBLES = KIND == INT8 ? 1 : 2, BLOCKS = GROUP / (NIBBLES * QUAD);
    for (; rows >= ROWS; rows -= ROWS, row += ROWS, out += ROWS * LANES) {
        Vector sums[ROWS][PARTS] = {};
        const int8_t* levels = in.levels + row * in.width;
        const float* factors = in.scales + row * in.groups;
        const int32_t* totals = in.sums + row * in.groups;
        for (Int g = 0; g < in.groups; ++g) {
            Ints found[ROWS][PARTS];
#pragma GCC unroll 8
            for (int b = 0; b < ROWS; ++b)
                for (int part = 0; part < PARTS; ++part)
                    found[b][part] = KIND == INT8 ? -128 * totals[b * in.groups + g] - Ints{} : Ints{};
#pragma GCC unroll 8
            for (int block = 0; block < BLOCKS; ++block) {
                const char* at = panel + g * SIZE<KIND> + block * LANES * QUAD;
                Ints bytes[PARTS];
#pragma GCC unroll 8
                for (int part = 0; part < PARTS; ++part) {
                    __builtin_prefetch(at + part * BYTES + AHEAD);
                    bytes[part] = *reinterpret_cast<const Ints*>(at + part * BYTES);
                }
#pragma GCC unroll 2
                for (int nibble = 0; nibble < NIBBLES; ++nibble) {
                    const int8_t* four = levels + g * GROUP + (NIBBLES * block + nibble) * QUAD;
#pragma GCC unroll 8
                    for (int part = 0; part < PARTS; ++part) {
                        const Ints weights = KIND == INT8 ? bytes[part] : (bytes[part] >> (4 * nibble)) & 0x0f0f0f0f;
#pragma GCC unroll 8
                        for (int b = 0; b < ROWS; ++b)
                            found[b][part] = dot4(found[b][part], weights, four_of(four + b * in.width));
                    }
                }
            }
            const uint16_t* scales = scales_of<KIND>(panel, g);
            __builtin_prefetch(reinterpret_cast<const char*>(scales) + AHEAD);
#pragma GCC unroll 8
            for (int part = 0; part < PARTS; ++part) {
                const Vector scale = widened(scales + part * WIDE);
                const Vector least = KIND == INT4 ? widened(scales + LANES + part * WIDE) : Vector{};
#pragma GCC unroll 8
                for (int b = 0; b < ROWS; ++b) {
                    const float factor = factors[b * in.groups + g];
                    sums[b][part] += __builtin_convertvector(found[b][part], Vector) * (scale * factor);
                    if (KIND == INT4) sums[b][part] += least * (factor * totals[b * in.groups + g]);
                }
            }
        }
        std::memcpy(out, sums, sizeof sums);
    }
    if constexpr (ROWS > 1)
        if (rows) times_integers<ROWS / 2, KIND>(in, row, rows, panel, out);
}

#else

constexpr int QUAD = 1, INT_ROWS = MOST_ROWS;

// Integer weights, widened to floats.
template <int ROWS, Kind KIND>
void times_integers(const Inputs& in, Int row, Int rows, const char* panel, float* out) {
    for (; rows >= ROWS; rows -= ROWS, row += ROWS, out += ROWS * LANES) {
        Vector sums[ROWS][PARTS] = {};
        for (Int g = 0; g < in.groups; ++g) {
            const uint16_t* scales = scales_of<KIND>(panel, g);
            for (int part = 0; part < PARTS; ++part) {
                Vector found[ROWS] = {};
                const Vector scale = widened(scales + part * WIDE);
                const Vector least = KIND == INT8 ? scale * -128.0f : widened(scales + LANES + part * WIDE);
                for (Int i = 0; i < GROUP; ++i) {
                    const Int line = KIND == INT8 ? i : i / 2;
                    const char* at = panel + g * SIZE<KIND> + line * LANES + part * WIDE;
                    Ints bytes = __builtin_convertvector(*reinterpret_cast<const Bytes*>(at), Ints);
                    if (KIND == INT4) bytes = i % 2 ? bytes >> 4 : bytes & 15;
                    const Vector weights = __builtin_convertvector(bytes, Vector) * scale + least;
#pragma GCC unroll 8
                    for (int b = 0; b < ROWS; ++b) found[b] += weights * in.values[(row + b) * in.width + g * GROUP + i];
                }
                for (int b = 0; b < ROWS; ++b) sums[b][part] += found[b];
            }
        }
        std::memcpy(out, sums, sizeof sums);
    }
    if constexpr (ROWS > 1)
        if (rows) times_integers<ROWS / 2, KIND>(in, row, rows, panel, out);
}

#endif

// All rows times one panel of the matrix: out [rows, LANES].
void times_panel(const Inputs& in, Int rows, const Matrix& m, Int panel, float* out) {
    const char* at = m.weights + panel * m.stride;
    if (m.kind == FLOAT)
        times_floats<MOST_ROWS>(in.values, reinterpret_cast<const float*>(at), rows, in.width, out);
    else if (m.kind == HALF)
        times_floats<MOST_ROWS>(in.values, reinterpret_cast<const uint16_t*>(at), rows, in.width, out);
    else if (m.kind == INT8)
        times_integers<INT_ROWS, INT8>(in, 0, rows, at, out);
    else
        times_integers<INT_ROWS, INT4>(in, 0, rows, at, out);
}

}  // namespace
