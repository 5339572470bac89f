// Every step-th element of an axis from `start`, `count` of them.
#ifndef HWQ_SLICE_H_
#define HWQ_SLICE_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_slice_config {
    static const unsigned outer = 1; // elements of the axes before
    static const unsigned size = 1;  // of the axis
    static const unsigned inner = 1; // elements of the axes after
    static const unsigned start = 0, step = 1, count = 1;
    static const bool last = false; // the axis is the last one: pixels shrink
};

template <typename CONFIG_T> bool hwq_slice_takes(unsigned at) {
    #pragma HLS INLINE
    return at >= CONFIG_T::start && (at - CONFIG_T::start) % CONFIG_T::step == 0 &&
           (at - CONFIG_T::start) / CONFIG_T::step < CONFIG_T::count;
}

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_slice(const data_T data[CONFIG_T::outer * CONFIG_T::size * CONFIG_T::inner],
               res_T res[CONFIG_T::outer * CONFIG_T::count * CONFIG_T::inner]) {
    #pragma HLS PIPELINE II=1
    unsigned at = 0;
OuterLoop:
    for (unsigned i = 0; i < CONFIG_T::outer; i++) {
    AxisLoop:
        for (unsigned k = 0; k < CONFIG_T::count; k++) {
        InnerLoop:
            for (unsigned j = 0; j < CONFIG_T::inner; j++) {
                const unsigned from = CONFIG_T::start + k * CONFIG_T::step;
                res[at++] = res_T(data[(i * CONFIG_T::size + from) * CONFIG_T::inner + j]);
            }
        }
    }
}

// One input pixel a cycle.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_slice(hls::stream<data_T> &data, hls::stream<res_T> &res) {
    static const bool last = CONFIG_T::last;
    static const unsigned pixels = last ? 1 : CONFIG_T::inner / data_T::size;
OuterLoop:
    for (unsigned i = 0; i < CONFIG_T::outer; i++) {
    AxisLoop:
        for (unsigned k = 0; k < (last ? 1 : CONFIG_T::size); k++) {
        InnerLoop:
            for (unsigned j = 0; j < pixels; j++) {
                #pragma HLS PIPELINE II=1
                const data_T in = data.read();
                res_T out;
            ChannelLoop:
                for (unsigned c = 0; c < res_T::size; c++) {
                    #pragma HLS UNROLL
                    out[c] = typename res_T::value_type(in[last ? CONFIG_T::start + c * CONFIG_T::step : c]);
                }
                if (last || hwq_slice_takes<CONFIG_T>(k)) {
                    res.write(out);
                }
            }
        }
    }
}

} // namespace nnet

#endif
