// Two tensors, elementwise: y = mult0[c] * a + mult1[c] * b + add[c], or y = a * b.
//
// Tensors have four axes (leading ones of size 1); an axis of size 1 is repeated where the result has more.
// A stream whose pixels match the result's is read pixel by pixel; another one is read whole first.
#ifndef HWQ_JOIN_H_
#define HWQ_JOIN_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_join_config {
    static const unsigned size0 = 1, size1 = 1, size2 = 1, size3 = 1; // of the result
    static const unsigned a0 = 0, a1 = 0, a2 = 0, a3 = 0;             // strides of a in elements; 0 repeats
    static const unsigned b0 = 0, b1 = 0, b2 = 0, b3 = 0;             // strides of b
    static const unsigned n_a = 1, n_b = 1;                           // elements of a and b
    static const bool a_in_step = true, b_in_step = true;             // pixels match the result's
    static const bool product = false;
    static const unsigned n_chan = 1; // of mult0, mult1 and add: 1 or size3
    // typedef types of mult0, mult1, add: mult0_t, mult1_t, add_t
};

template <class a_T, class b_T, class res_T, typename CONFIG_T>
res_T hwq_join_one(const a_T &a, const b_T &b, unsigned c, const typename CONFIG_T::mult0_t mult0[CONFIG_T::n_chan],
                   const typename CONFIG_T::mult1_t mult1[CONFIG_T::n_chan],
                   const typename CONFIG_T::add_t add[CONFIG_T::n_chan]) {
    #pragma HLS INLINE
    if (CONFIG_T::product) {
        return res_T(a * b);
    }
    const unsigned k = c % CONFIG_T::n_chan;
    return res_T(a * mult0[k] + b * mult1[k] + add[k]);
}

// Whole tensors in parallel.
template <class a_T, class b_T, class res_T, typename CONFIG_T>
void hwq_join(const a_T a[CONFIG_T::n_a], const b_T b[CONFIG_T::n_b],
              res_T res[CONFIG_T::size0 * CONFIG_T::size1 * CONFIG_T::size2 * CONFIG_T::size3],
              const typename CONFIG_T::mult0_t mult0[CONFIG_T::n_chan],
              const typename CONFIG_T::mult1_t mult1[CONFIG_T::n_chan],
              const typename CONFIG_T::add_t add[CONFIG_T::n_chan]) {
    #pragma HLS ARRAY_PARTITION variable=mult0 complete
    #pragma HLS ARRAY_PARTITION variable=mult1 complete
    #pragma HLS ARRAY_PARTITION variable=add complete
    #pragma HLS PIPELINE II=1
    unsigned at = 0;
Axis0:
    for (unsigned i = 0; i < CONFIG_T::size0; i++) {
    Axis1:
        for (unsigned j = 0; j < CONFIG_T::size1; j++) {
        Axis2:
            for (unsigned k = 0; k < CONFIG_T::size2; k++) {
            Axis3:
                for (unsigned c = 0; c < CONFIG_T::size3; c++) {
                    res[at++] = hwq_join_one<a_T, b_T, res_T, CONFIG_T>(
                        a[i * CONFIG_T::a0 + j * CONFIG_T::a1 + k * CONFIG_T::a2 + c * CONFIG_T::a3],
                        b[i * CONFIG_T::b0 + j * CONFIG_T::b1 + k * CONFIG_T::b2 + c * CONFIG_T::b3], c, mult0, mult1,
                        add);
                }
            }
        }
    }
}

// One pixel of the result a cycle.
template <class a_T, class b_T, class res_T, typename CONFIG_T>
void hwq_join(hls::stream<a_T> &a, hls::stream<b_T> &b, hls::stream<res_T> &res,
              const typename CONFIG_T::mult0_t mult0[CONFIG_T::n_chan],
              const typename CONFIG_T::mult1_t mult1[CONFIG_T::n_chan],
              const typename CONFIG_T::add_t add[CONFIG_T::n_chan]) {
    #pragma HLS ARRAY_PARTITION variable=mult0 complete
    #pragma HLS ARRAY_PARTITION variable=mult1 complete
    #pragma HLS ARRAY_PARTITION variable=add complete
    static_assert(res_T::size == CONFIG_T::size3, "a pixel of the result is not its last axis");
    a_T a_whole[CONFIG_T::a_in_step ? 1 : CONFIG_T::n_a / a_T::size];
    b_T b_whole[CONFIG_T::b_in_step ? 1 : CONFIG_T::n_b / b_T::size];
    if (!CONFIG_T::a_in_step) {
    ReadA:
        for (unsigned i = 0; i < CONFIG_T::n_a / a_T::size; i++) {
            #pragma HLS PIPELINE II=1
            a_whole[CONFIG_T::a_in_step ? 0 : i] = a.read();
        }
    }
    if (!CONFIG_T::b_in_step) {
    ReadB:
        for (unsigned i = 0; i < CONFIG_T::n_b / b_T::size; i++) {
            #pragma HLS PIPELINE II=1
            b_whole[CONFIG_T::b_in_step ? 0 : i] = b.read();
        }
    }
Axis0:
    for (unsigned i = 0; i < CONFIG_T::size0; i++) {
    Axis1:
        for (unsigned j = 0; j < CONFIG_T::size1; j++) {
        Axis2:
            for (unsigned k = 0; k < CONFIG_T::size2; k++) {
                #pragma HLS PIPELINE II=1
                const unsigned a_at = (i * CONFIG_T::a0 + j * CONFIG_T::a1 + k * CONFIG_T::a2) / a_T::size;
                const unsigned b_at = (i * CONFIG_T::b0 + j * CONFIG_T::b1 + k * CONFIG_T::b2) / b_T::size;
                const a_T in_a = CONFIG_T::a_in_step ? a.read() : a_whole[CONFIG_T::a_in_step ? 0 : a_at];
                const b_T in_b = CONFIG_T::b_in_step ? b.read() : b_whole[CONFIG_T::b_in_step ? 0 : b_at];
                res_T out;
            ChannelLoop:
                for (unsigned c = 0; c < res_T::size; c++) {
                    #pragma HLS UNROLL
                    out[c] = hwq_join_one<typename a_T::value_type, typename b_T::value_type,
                                          typename res_T::value_type, CONFIG_T>(
                        in_a[c * CONFIG_T::a3], in_b[c * CONFIG_T::b3], c, mult0, mult1, add);
                }
                res.write(out);
            }
        }
    }
}

} // namespace nnet

#endif
