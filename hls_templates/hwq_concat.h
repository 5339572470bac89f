// Two tensors joined along an axis: `outer` times first_inner elements of a, then second_inner of b.
#ifndef HWQ_CONCAT_H_
#define HWQ_CONCAT_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_concat_config {
    static const unsigned outer = 1;        // elements of the axes before
    static const unsigned first_inner = 1;  // elements of a from the axis on
    static const unsigned second_inner = 1; // elements of b from the axis on
    static const bool last = false;         // the axis is the last one: pixels grow
};

// Whole tensors in parallel.
template <class a_T, class b_T, class res_T, typename CONFIG_T>
void hwq_concat(const a_T a[CONFIG_T::outer * CONFIG_T::first_inner],
                const b_T b[CONFIG_T::outer * CONFIG_T::second_inner],
                res_T res[CONFIG_T::outer * (CONFIG_T::first_inner + CONFIG_T::second_inner)]) {
    #pragma HLS PIPELINE II=1
    unsigned at = 0;
OuterLoop:
    for (unsigned i = 0; i < CONFIG_T::outer; i++) {
    FirstLoop:
        for (unsigned j = 0; j < CONFIG_T::first_inner; j++) {
            res[at++] = res_T(a[i * CONFIG_T::first_inner + j]);
        }
    SecondLoop:
        for (unsigned j = 0; j < CONFIG_T::second_inner; j++) {
            res[at++] = res_T(b[i * CONFIG_T::second_inner + j]);
        }
    }
}

template <class data_T, class res_T> void hwq_concat_pass(hls::stream<data_T> &data, hls::stream<res_T> &res) {
    #pragma HLS INLINE
    const data_T in = data.read();
    res_T out;
PassLoop:
    for (unsigned j = 0; j < res_T::size; j++) {
        #pragma HLS UNROLL
        out[j] = typename res_T::value_type(in[j]);
    }
    res.write(out);
}

// One pixel of the result a cycle.
template <class a_T, class b_T, class res_T, typename CONFIG_T>
void hwq_concat(hls::stream<a_T> &a, hls::stream<b_T> &b, hls::stream<res_T> &res) {
    typedef typename res_T::value_type value_T;
    if (CONFIG_T::last) {
    PixelLoop:
        for (unsigned i = 0; i < CONFIG_T::outer; i++) {
            #pragma HLS PIPELINE II=1
            const a_T in_a = a.read();
            const b_T in_b = b.read();
            res_T out;
        ChannelLoop:
            for (unsigned j = 0; j < res_T::size; j++) {
                #pragma HLS UNROLL
                out[j] = j < a_T::size ? value_T(in_a[j < a_T::size ? j : 0])
                                       : value_T(in_b[j < a_T::size ? 0 : j - a_T::size]);
            }
            res.write(out);
        }
    } else {
    OuterLoop:
        for (unsigned i = 0; i < CONFIG_T::outer; i++) {
        FirstLoop:
            for (unsigned j = 0; j < CONFIG_T::first_inner / a_T::size; j++) {
                #pragma HLS PIPELINE II=1
                hwq_concat_pass<a_T, res_T>(a, res);
            }
        SecondLoop:
            for (unsigned j = 0; j < CONFIG_T::second_inner / b_T::size; j++) {
                #pragma HLS PIPELINE II=1
                hwq_concat_pass<b_T, res_T>(b, res);
            }
        }
    }
}

} // namespace nnet

#endif
