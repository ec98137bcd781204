// Decoders on the processor: some tokens of some sequences as one function, all of it in one team of threads.
//
// Every token is a row of its own, whether it is the next of a reply or one of many of a prompt: it writes its key and its
// value to its sequence's cache, and sees what stands there up to itself. What a row gives does not depend on the others.

#include "attention.h"
#include "products.h"

extern "C" {

struct Layer {
    Matrix qkv, output, gate, up, down;  // gate without outputs: a plain feed-forward part
    const float *attention_norm, *attention_shift, *feed_norm, *feed_shift;  // [W]; no shift: RMSNorm
    const float *query_norm, *key_norm;                                      // [D], or null
    Int band;                                                                // nearest slots that are seen; 0: all
};

struct Model {
    Int layers, width, heads, kv_heads, head_dim, feed_forward, threads;
    Int norm_after, exact_gelu, half_cache;
    float eps;
    Matrix head;
    const float *norm, *shift;       // the last norm's, or null where there is none
    const float *cos, *sin;          // [context, D], or null
    const void* embedding;           // [V, W], bfloat16 where half_embedding, else float32
    Int half_embedding;
    const float* places;             // [context, W], or null
    const Layer* layer;
};

// A token: it stands in `slot` and sees from `first` on. Its caches, of the first layer: head k begins at k · capacity · D,
// and the next layer's `stride` numbers later; the capacity is a whole number of tiles. `result`: its line of the logits, or -1.
struct Row {
    Int id, position, first, slot, capacity, stride;
    void *keys, *values;
    Int result;
};

struct Step {
    Int rows;
    const Row* row;
    float* logits;  // [results, V]
};
}

namespace {

inline float dot(const float* a, const float* b, Int size) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (Int i = 0; i < size; ++i) sum += a[i] * b[i];
    return sum;
}

inline float silu(float x) { return x / (1.0f + exponential(-x)); }

inline float gelu_tanh(float x) {
    // tanh(y) = 1 − 2 / (e^2y + 1)
    const float twice = 1.59576912f * (x + 0.044715f * x * x * x);
    return x * (1.0f - 1.0f / (exponential(twice) + 1.0f));
}

inline float gelu_exact(float x) { return 0.5f * x * (1.0f + std::erf(x * 0.70710678f)); }

// The step's intermediate results, and what all the threads of the team do with them.
struct Work {
    const Model& m;
    const Step& s;
    Int qkv_width = (m.heads + 2 * m.kv_heads) * m.head_dim, mixed_width = m.heads * m.head_dim;
    std::vector<float> x = std::vector<float>(s.rows * m.width);
    std::vector<float> qkv = std::vector<float>(s.rows * qkv_width);
    std::vector<float> mixed = std::vector<float>(s.rows * mixed_width);
    std::vector<float> hidden = std::vector<float>(s.rows * m.feed_forward);
    Room room = Room(s.rows, std::max({m.width, m.heads * m.head_dim, m.feed_forward}));

    void run() {
        embed();
        for (Int index = 0; index < m.layers; ++index) {
            const Layer& layer = m.layer[index];
            product(normed(m.norm_after ? nullptr : layer.attention_norm, layer.attention_shift, layer.qkv.kind), layer.qkv,
                    qkv.data(), false);
            if (m.half_cache)
                attend<uint16_t>(index, layer);
            else
                attend<float>(index, layer);
            product(taken(mixed.data(), mixed_width, layer.output.kind), layer.output, x.data(), true);
            if (m.norm_after) norm_in_place(layer.attention_norm, layer.attention_shift);
            feed(normed(m.norm_after ? nullptr : layer.feed_norm, layer.feed_shift, layer.up.kind), layer);
            product(taken(hidden.data(), m.feed_forward, layer.down.kind), layer.down, x.data(), true);
            if (m.norm_after) norm_in_place(layer.feed_norm, layer.feed_shift);
        }
        results();
    }

    void embed() {
#pragma omp for schedule(static)
        for (Int b = 0; b < s.rows; ++b) {
            float* to = &x[b * m.width];
            const Int from = s.row[b].id * m.width;
            for (Int i = 0; i < m.width; ++i)
                to[i] = m.half_embedding ? widened(static_cast<const uint16_t*>(m.embedding)[from + i])
                                         : static_cast<const float*>(m.embedding)[from + i];
            if (m.places)
                for (Int i = 0; i < m.width; ++i) to[i] += m.places[s.row[b].position * m.width + i];
        }
    }

    // RMSNorm, or LayerNorm where there is a shift.
    void norm(const float* from, const float* weight, const float* shift, float* to) const {
        float mean = 0;
        if (shift) {
#pragma omp simd reduction(+ : mean)
            for (Int i = 0; i < m.width; ++i) mean += from[i];
            mean /= m.width;
        }
        float square = 0;
#pragma omp simd reduction(+ : square)
        for (Int i = 0; i < m.width; ++i) square += (from[i] - mean) * (from[i] - mean);
        const float factor = 1.0f / std::sqrt(square / m.width + m.eps);
        if (shift)
            for (Int i = 0; i < m.width; ++i) to[i] = (from[i] - mean) * factor * weight[i] + shift[i];
        else
            for (Int i = 0; i < m.width; ++i) to[i] = from[i] * factor * weight[i];
    }

    void norm_in_place(const float* weight, const float* shift) {
#pragma omp for schedule(static)
        for (Int b = 0; b < s.rows; ++b) norm(&x[b * m.width], weight, shift, &x[b * m.width]);
    }

    // The inputs of a product: x, normed where there is a weight.
    Inputs normed(const float* weight, const float* shift, Int kind) {
        if (!weight) return taken(x.data(), m.width, kind);
        const Inputs in(room, m.width, kind);
#pragma omp for schedule(static)
        for (Int b = 0; b < s.rows; ++b) {
            norm(&x[b * m.width], weight, shift, in.row(b));
            in.finish(b);
        }
        return in;
    }

    // The inputs of a product: these.
    Inputs taken(const float* from, Int width, Int kind) {
        const Inputs in(room, width, kind);
#pragma omp for schedule(static)
        for (Int b = 0; b < s.rows; ++b) {
            std::copy_n(from + b * width, width, in.row(b));
            in.finish(b);
        }
        return in;
    }

    // out = in × matrix + bias, or added to what is there.
    void product(const Inputs& in, const Matrix& matrix, float* out, bool added) const {
        std::vector<float> found(s.rows * LANES);
#pragma omp for schedule(static)
        for (Int begin = 0; begin < matrix.outputs; begin += LANES) {
            times_panel(in, s.rows, matrix, begin / LANES, found.data());
            const Int count = std::min<Int>(LANES, matrix.outputs - begin);
            for (Int b = 0; b < s.rows; ++b) {
                float* to = out + b * matrix.outputs + begin;
                const float* from = &found[b * LANES];
                if (matrix.bias)
                    for (Int i = 0; i < count; ++i) to[i] = (added ? to[i] : 0.0f) + from[i] + matrix.bias[begin + i];
                else
                    for (Int i = 0; i < count; ++i) to[i] = (added ? to[i] : 0.0f) + from[i];
            }
        }
    }

    // hidden = SiLU(x × gate) · (x × up), or GELU(x × up + bias).
    void feed(const Inputs& in, const Layer& layer) {
        std::vector<float> gates(s.rows * LANES), ups(s.rows * LANES);
#pragma omp for schedule(static)
        for (Int begin = 0; begin < m.feed_forward; begin += LANES) {
            if (layer.gate.outputs) times_panel(in, s.rows, layer.gate, begin / LANES, gates.data());
            times_panel(in, s.rows, layer.up, begin / LANES, ups.data());
            const Int count = std::min<Int>(LANES, m.feed_forward - begin);
            for (Int b = 0; b < s.rows; ++b) {
                float *to = &hidden[b * m.feed_forward + begin], *up = &ups[b * LANES];
                const float* gate = &gates[b * LANES];
                if (layer.up.bias)
                    for (Int i = 0; i < count; ++i) up[i] += layer.up.bias[begin + i];
                if (layer.gate.outputs)
                    for (Int i = 0; i < count; ++i) to[i] = silu(gate[i]) * up[i];
                else if (m.exact_gelu)
                    for (Int i = 0; i < count; ++i) to[i] = gelu_exact(up[i]);
                else
                    for (Int i = 0; i < count; ++i) to[i] = gelu_tanh(up[i]);
            }
        }
    }

    // Norm, scale and rotary position of one head.
    void turn(float* head, const Row& row, const float* weight, float scale) const {
        const Int width = m.head_dim, half = width / 2;
        if (weight) {
            scale /= std::sqrt(dot(head, head, width) / width + m.eps);
            for (Int i = 0; i < width; ++i) head[i] *= weight[i] * scale;
        } else {
            for (Int i = 0; i < width; ++i) head[i] *= scale;
        }
        if (!m.cos) return;
        const float *cos = m.cos + row.position * width, *sin = m.sin + row.position * width;
        for (Int i = 0; i < half; ++i) {
            const float one = head[i], other = head[i + half];
            head[i] = one * cos[i] + other * sin[i];
            head[i + half] = other * cos[i + half] + one * sin[i + half];
        }
    }

    // Each row's keys and values go to its cache, then its queries see what stands there.
    template <typename Number>
    void attend(Int index, const Layer& layer) {
        const Int width = m.head_dim, group = m.heads / m.kv_heads, tasks = s.rows * m.kv_heads;
#pragma omp for schedule(static)
        for (Int task = 0; task < tasks; ++task) {
            const Row& row = s.row[task / m.kv_heads];
            const Int k = task % m.kv_heads, place = index * row.stride + k * row.capacity * width;
            float *heads = &qkv[task / m.kv_heads * qkv_width], *key = heads + (m.heads + k) * width;
            turn(key, row, layer.key_norm, 1.0f);
            store_key(key, width, row.slot, static_cast<Number*>(row.keys) + place);
            store_value(key + m.kv_heads * width, width, row.slot, static_cast<Number*>(row.values) + place);
            for (Int h = k * group; h < (k + 1) * group; ++h)
                turn(heads + h * width, row, layer.query_norm, 1.0f / std::sqrt(static_cast<float>(width)));
        }
        std::vector<float> scores;
#pragma omp for schedule(static, 1)
        for (Int task = 0; task < tasks; ++task) {
            // rows of one head one after the other: what they see is in the processor's cache
            const Int b = task % s.rows, k = task / s.rows;
            const Row& row = s.row[b];
            const Int end = row.slot + 1, first = layer.band ? std::max(row.first, end - layer.band) : row.first;
            const Int place = index * row.stride + k * row.capacity * width;
            scores.resize(std::max<Int>(scores.size(), 4 * padded(end, TILE)));
            see_group(&qkv[b * qkv_width + k * group * width], group, static_cast<const Number*>(row.keys) + place,
                      static_cast<const Number*>(row.values) + place, first, end, width, scores.data(),
                      &mixed[b * mixed_width + k * group * width]);
        }
    }

    // The logits of the rows that are asked for them.
    void results() {
        std::vector<Int> asked;
        for (Int b = 0; b < s.rows; ++b)
            if (s.row[b].result >= 0) asked.push_back(b);
        const Int count = asked.size();
        const Inputs in(room, m.width, m.head.kind);
#pragma omp for schedule(static)
        for (Int b = 0; b < count; ++b) {
            if (m.norm)
                norm(&x[asked[b] * m.width], m.norm, m.shift, in.row(b));
            else
                std::copy_n(&x[asked[b] * m.width], m.width, in.row(b));
            in.finish(b);
        }
        std::vector<float> found(count * LANES);
#pragma omp for schedule(static)
        for (Int begin = 0; begin < (count ? m.head.outputs : 0); begin += LANES) {
            times_panel(in, count, m.head, begin / LANES, found.data());
            const Int outputs = std::min<Int>(LANES, m.head.outputs - begin);
            for (Int b = 0; b < count; ++b)
                std::copy_n(&found[b * LANES], outputs, s.logits + s.row[asked[b]].result * m.head.outputs + begin);
        }
    }
};

}  // namespace

extern "C" {

// How many inputs of an output stand together in a panel of integers.
Int quad() { return QUAD; }

void run_rows(const Model* model, const Step* step) {
    Work work{*model, *step};
#pragma omp parallel num_threads(static_cast<int>(model->threads))
    work.run();
}
}
