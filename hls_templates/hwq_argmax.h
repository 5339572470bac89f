// Where the last axis has its maximum; the lowest index wins ties.
#ifndef HWQ_ARGMAX_H_
#define HWQ_ARGMAX_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_argmax_config {
    static const unsigned n_in = 1;   // elements of the tensor
    static const unsigned n_chan = 1; // size of the last axis
};

// Of n_chan elements from `first` on.
template <class data_T, class res_T, class array_T, typename CONFIG_T>
res_T hwq_argmax_one(const array_T &data, unsigned first) {
    #pragma HLS INLINE
    data_T best = data[first];
    res_T index = 0;
CompareLoop:
    for (unsigned k = 1; k < CONFIG_T::n_chan; k++) {
        #pragma HLS UNROLL
        if (data[first + k] > best) {
            best = data[first + k];
            index = k;
        }
    }
    return index;
}

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_argmax(const data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_in / CONFIG_T::n_chan]) {
    #pragma HLS PIPELINE II=1
PixelLoop:
    for (unsigned i = 0; i < CONFIG_T::n_in / CONFIG_T::n_chan; i++) {
        #pragma HLS UNROLL
        res[i] = hwq_argmax_one<data_T, res_T, const data_T *, CONFIG_T>(data, i * CONFIG_T::n_chan);
    }
}

// One pixel a cycle.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_argmax(hls::stream<data_T> &data, hls::stream<res_T> &res) {
    static_assert(data_T::size == CONFIG_T::n_chan && res_T::size == 1, "a pixel is not the last axis");
PixelLoop:
    for (unsigned i = 0; i < CONFIG_T::n_in / CONFIG_T::n_chan; i++) {
        #pragma HLS PIPELINE II=1
        const data_T in = data.read();
        res_T out;
        out[0] = hwq_argmax_one<typename data_T::value_type, typename res_T::value_type, data_T, CONFIG_T>(in, 0);
        res.write(out);
    }
}

} // namespace nnet

#endif
