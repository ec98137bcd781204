// One decoding step in float32: `Prepared.step` as one function, all of it in one team of threads.
//
// A matrix comes in panels of LANES outputs, [panel, input, LANES]: read in order, once a step, for as many rows as the
// registers hold. RMSNorm without its weight is a factor a row, so it goes behind the product.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

#if defined(__AVX512F__)
constexpr int BYTES = 64, MOST_ROWS = 8;
#elif defined(__AVX__)
constexpr int BYTES = 32, MOST_ROWS = 2;
#else
constexpr int BYTES = 16, MOST_ROWS = 1;
#endif
constexpr int LANES = 32, WIDE = BYTES / 4, PARTS = LANES / WIDE;
typedef float Vector __attribute__((vector_size(BYTES), aligned(4), may_alias));
using Int = int64_t;
// Floats to fetch ahead: the processor's own prefetching stops at every page.
constexpr Int AHEAD = 1024;

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

inline float dot(const float* a, const float* b, Int size) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Int i = 0; i < size; ++i) sum += a[i] * b[i];
    return sum;
}

// 1 / √(Σx² + width·eps)
inline float norm_factor(const float* x, Int width, float eps) {
    return 1.0f / std::sqrt(dot(x, x, width) + width * eps);
}

// Rows of x, [rows, inputs], times one panel: out [rows, LANES].
template <int ROWS>
void times_panel(const float* x, const float* panel, Int rows, Int inputs, float* out) {
    for (; rows >= ROWS; rows -= ROWS, x += ROWS * inputs, out += ROWS * LANES) {
        Vector sums[ROWS][PARTS] = {};
        for (Int i = 0; i < inputs; ++i) {
            const Vector* weights = reinterpret_cast<const Vector*>(panel + i * LANES);
            for (int line = 0; line < LANES; line += 16) __builtin_prefetch(panel + i * LANES + AHEAD + line);
#pragma GCC unroll 8
            for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 8
                for (int part = 0; part < PARTS; ++part) sums[row][part] += weights[part] * x[row * inputs + i];
        }
        Vector* to = reinterpret_cast<Vector*>(out);
#pragma GCC unroll 8
        for (int row = 0; row < ROWS; ++row)
#pragma GCC unroll 8
            for (int part = 0; part < PARTS; ++part) to[row * PARTS + part] = sums[row][part];
    }
    if constexpr (ROWS > 1)
        if (rows) times_panel<ROWS / 2>(x, panel, rows, inputs, out);
}

}  // namespace

extern "C" {

struct Layer {
    const float *qkv, *bias, *output, *gate, *up, *down;  // panels; bias: of qkv, or null
    const float *straight, *crossed;                      // [J, D]: head norms' weights for `turn`, J = H + K
};

struct Model {
    Int layers, width, heads, kv_heads, head_dim, feed_forward, vocab_size, threads, normed_heads;
    float eps;
    const float *embedding, *head;  // [V, W]; panels
    const float *cos, *sin;         // [context, D]
    const Layer* layer;
};

struct Step {
    Int rows, slots, capacity, positions_stride;  // slots: in use, with the new one; stride 0: one position for all
    const Int *ids, *positions;
    const unsigned char* seen;  // [B, slots], or null where all is seen
    float *const *keys, *const *values;  // for each layer [B, K, capacity, D]
    float* logits;                       // [B, V]
};
}

namespace {

// The step's intermediate results, and what all the threads of the team do with them.
struct Work {
    const Model& m;
    const Step& s;
    Int qkv_width = (m.heads + 2 * m.kv_heads) * m.head_dim;
    std::vector<float> x = std::vector<float>(s.rows * m.width);
    std::vector<float> qkv = std::vector<float>(s.rows * qkv_width);
    std::vector<float> mixed = std::vector<float>(s.rows * m.heads * m.head_dim);
    std::vector<float> hidden = std::vector<float>(s.rows * m.feed_forward);

    void norm_factors(std::vector<float>& factors) const {
        for (Int b = 0; b < s.rows; ++b) factors[b] = norm_factor(&x[b * m.width], m.width, m.eps);
    }

    // out = factor · (in × matrix), or out += in × matrix where there are no factors.
    void product(const float* in, Int inputs, const float* matrix, Int outputs, float* out, const float* factors) const {
        std::vector<float> found(s.rows * LANES);
#pragma omp for schedule(static)
        for (Int begin = 0; begin < outputs; begin += LANES) {
            times_panel<MOST_ROWS>(in, matrix + begin * inputs, s.rows, inputs, found.data());
            const Int count = std::min<Int>(LANES, outputs - begin);
            for (Int b = 0; b < s.rows; ++b) {
                float* to = out + b * outputs + begin;
                const float* from = &found[b * LANES];
                for (Int i = 0; i < count; ++i) to[i] = factors ? from[i] * factors[b] : to[i] + from[i];
            }
        }
    }

    void add_bias(const float* bias) {
#pragma omp for schedule(static)
        for (Int b = 0; b < s.rows; ++b)
            for (Int i = 0; i < qkv_width; ++i) qkv[b * qkv_width + i] += bias[i];
    }

    // hidden = SiLU(x × gate) · (x × up)
    void gated(const Layer& layer, const float* factors) {
        std::vector<float> gates(s.rows * LANES), ups(s.rows * LANES);
#pragma omp for schedule(static)
        for (Int begin = 0; begin < m.feed_forward; begin += LANES) {
            times_panel<MOST_ROWS>(x.data(), layer.gate + begin * m.width, s.rows, m.width, gates.data());
            times_panel<MOST_ROWS>(x.data(), layer.up + begin * m.width, s.rows, m.width, ups.data());
            const Int count = std::min<Int>(LANES, m.feed_forward - begin);
            for (Int b = 0; b < s.rows; ++b) {
                float* to = &hidden[b * m.feed_forward + begin];
                for (Int i = 0; i < count; ++i) {
                    const float gate = gates[b * LANES + i] * factors[b];
                    to[i] = gate / (1.0f + exponential(-gate)) * ups[b * LANES + i] * factors[b];
                }
            }
        }
    }

    // Norm, the norm's weight and rotary positions of one head; without head norms the weights are ones.
    void turn(const float* in, Int row, Int head, const Layer& layer, float* out) const {
        const Int width = m.head_dim, half = width / 2, position = s.positions[row * s.positions_stride];
        const float factor = m.normed_heads ? norm_factor(in, width, m.eps) : 1.0f;
        const float *cos = m.cos + position * width, *sin = m.sin + position * width;
        const float *straight = layer.straight + head * width, *crossed = layer.crossed + head * width;
        for (Int i = 0; i < width; ++i) {
            const float other = in[i < half ? i + half : i - half];
            out[i] = factor * (in[i] * straight[i] * cos[i] + other * crossed[i] * sin[i]);
        }
    }

    // Writes the new key and value to the cache, then lets each query of their group see it.
    void attend(Int index, const Layer& layer) {
        const Int width = m.head_dim, group = m.heads / m.kv_heads;
        std::vector<float> query(width), weights(s.slots);
#pragma omp for schedule(static)
        for (Int task = 0; task < s.rows * m.kv_heads; ++task) {
            const Int b = task / m.kv_heads, k = task % m.kv_heads;
            const float* heads = &qkv[b * qkv_width];
            float *keys = s.keys[index] + task * s.capacity * width, *values = s.values[index] + task * s.capacity * width;
            const float* value = heads + (m.heads + m.kv_heads + k) * width;
            turn(heads + (m.heads + k) * width, b, m.heads + k, layer, keys + (s.slots - 1) * width);
            std::copy(value, value + width, values + (s.slots - 1) * width);
            for (Int h = k * group; h < (k + 1) * group; ++h) {
                turn(heads + h * width, b, h, layer, query.data());
                look(query.data(), keys, values, b, weights.data(), &mixed[(b * m.heads + h) * width]);
            }
        }
    }

    // One query's softmax over the slots it may see, and the mean of their values.
    void look(const float* query, const float* keys, const float* values, Int row, float* weights, float* out) const {
        const Int width = m.head_dim;
        const unsigned char* seen = s.seen ? s.seen + row * s.slots : nullptr;
        float most = -INFINITY, total = 0;
        for (Int slot = 0; slot < s.slots; ++slot) {
            weights[slot] = seen && !seen[slot] ? -INFINITY : dot(query, keys + slot * width, width);
            most = std::max(most, weights[slot]);
        }
#pragma omp simd reduction(+ : total)
        for (Int slot = 0; slot < s.slots; ++slot) total += weights[slot] = exponential(weights[slot] - most);
        std::fill(out, out + width, 0.0f);
        for (Int slot = 0; slot < s.slots; ++slot) {
            if (seen && !seen[slot]) continue;  // an empty slot may hold anything, NaN as well
            const float share = weights[slot] / total;
            const float* value = values + slot * width;
#pragma omp simd
            for (Int i = 0; i < width; ++i) out[i] += share * value[i];
        }
    }

    void run() {
        std::vector<float> factors(s.rows);
#pragma omp for schedule(static)
        for (Int b = 0; b < s.rows; ++b)
            std::copy_n(m.embedding + s.ids[b] * m.width, m.width, &x[b * m.width]);
        for (Int index = 0; index < m.layers; ++index) {
            const Layer& layer = m.layer[index];
            norm_factors(factors);
            product(x.data(), m.width, layer.qkv, qkv_width, qkv.data(), factors.data());
            if (layer.bias) add_bias(layer.bias);
            attend(index, layer);
            product(mixed.data(), m.heads * m.head_dim, layer.output, m.width, x.data(), nullptr);
            norm_factors(factors);
            gated(layer, factors.data());
            product(hidden.data(), m.feed_forward, layer.down, m.width, x.data(), nullptr);
        }
        norm_factors(factors);
        product(x.data(), m.width, m.head, m.vocab_size, s.logits, factors.data());
    }
};

}  // namespace

extern "C" void decode_step(const Model* model, const Step* step) {
    Work work{*model, *step};
#pragma omp parallel num_threads(static_cast<int>(model->threads))
    work.run();
}
