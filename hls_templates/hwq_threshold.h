// Counting thresholds: y = base + step * #{k : x >= T[c][k]}.
//
// Integers only; data_T, res_T and the threshold type are fixed point types without fraction bits,
// wide enough for every value that can occur (hwq proves it). Thresholds do not fall along a
// channel, but the count does not depend on that. n_chan is 1 or the size of the last axis.
#ifndef HWQ_THRESHOLD_H_
#define HWQ_THRESHOLD_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_threshold_config {
    static const unsigned n_in = 1;      // elements of the tensor
    static const unsigned n_chan = 1;    // rows of T
    static const unsigned n_steps = 1;   // columns of T
    static const int base = 0;
    static const int step = 1;
    // typedef unsigned type for 0..n_steps: count_t
    // typedef type of T: thresholds_t
};

// One element of channel c.
template <class data_T, class res_T, typename CONFIG_T>
res_T hwq_threshold_one(const data_T &x, unsigned c,
                        const typename CONFIG_T::thresholds_t t[CONFIG_T::n_chan * CONFIG_T::n_steps]) {
    #pragma HLS INLINE
    typename CONFIG_T::count_t count = 0;
CountLoop:
    for (unsigned k = 0; k < CONFIG_T::n_steps; k++) {
        #pragma HLS UNROLL
        if (x >= t[c * CONFIG_T::n_steps + k]) {
            count++;
        }
    }
    return res_T(CONFIG_T::base + CONFIG_T::step * count);
}

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_threshold(const data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_in],
                   const typename CONFIG_T::thresholds_t t[CONFIG_T::n_chan * CONFIG_T::n_steps]) {
    #pragma HLS ARRAY_PARTITION variable=t complete
    #pragma HLS PIPELINE II=1
ElementLoop:
    for (unsigned i = 0; i < CONFIG_T::n_in; i++) {
        #pragma HLS UNROLL
        res[i] = hwq_threshold_one<data_T, res_T, CONFIG_T>(data[i], i % CONFIG_T::n_chan, t);
    }
}

// One pixel a cycle. The output's pixel may be a whole number of input pixels (after an in-place flatten).
template <class data_T, class res_T, typename CONFIG_T>
void hwq_threshold(hls::stream<data_T> &data, hls::stream<res_T> &res,
                   const typename CONFIG_T::thresholds_t t[CONFIG_T::n_chan * CONFIG_T::n_steps]) {
    #pragma HLS ARRAY_PARTITION variable=t complete
    static_assert(res_T::size % data_T::size == 0, "output pixel is not a whole number of input pixels");
    res_T out;
PixelLoop:
    for (unsigned i = 0; i < CONFIG_T::n_in / data_T::size; i++) {
        #pragma HLS PIPELINE II=1
        const data_T in = data.read();
        const unsigned first = (i * data_T::size) % res_T::size;
    ChannelLoop:
        for (unsigned j = 0; j < data_T::size; j++) {
            #pragma HLS UNROLL
            out[first + j] = hwq_threshold_one<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(
                in[j], (i * data_T::size + j) % CONFIG_T::n_chan, t);
        }
        if (first + data_T::size == res_T::size) {
            res.write(out);
        }
    }
}

} // namespace nnet

#endif
