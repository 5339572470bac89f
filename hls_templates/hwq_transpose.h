// Axes in another order, of a tensor of four axes (leading ones of size 1).
#ifndef HWQ_TRANSPOSE_H_
#define HWQ_TRANSPOSE_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_transpose_config {
    static const unsigned size0 = 1, size1 = 1, size2 = 1, size3 = 1; // of the result
    static const unsigned from0 = 0, from1 = 0, from2 = 0, from3 = 0; // strides of the tensor along these axes
    static const bool last_stays = false;                             // pixels stay whole
};

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_transpose(const data_T data[CONFIG_T::size0 * CONFIG_T::size1 * CONFIG_T::size2 * CONFIG_T::size3],
                   res_T res[CONFIG_T::size0 * CONFIG_T::size1 * CONFIG_T::size2 * CONFIG_T::size3]) {
    #pragma HLS PIPELINE II=1
    unsigned at = 0;
Axis0:
    for (unsigned i0 = 0; i0 < CONFIG_T::size0; i0++) {
    Axis1:
        for (unsigned i1 = 0; i1 < CONFIG_T::size1; i1++) {
        Axis2:
            for (unsigned i2 = 0; i2 < CONFIG_T::size2; i2++) {
            Axis3:
                for (unsigned i3 = 0; i3 < CONFIG_T::size3; i3++) {
                    res[at++] = res_T(data[i0 * CONFIG_T::from0 + i1 * CONFIG_T::from1 + i2 * CONFIG_T::from2 +
                                           i3 * CONFIG_T::from3]);
                }
            }
        }
    }
}

// The tensor is read whole, then one pixel of the result a cycle: from memory if pixels stay whole, else from registers.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_transpose(hls::stream<data_T> &data, hls::stream<res_T> &res) {
    static const unsigned n = CONFIG_T::size0 * CONFIG_T::size1 * CONFIG_T::size2 * CONFIG_T::size3;
    static const unsigned pixels = n / data_T::size;
    static_assert(res_T::size == CONFIG_T::size3, "a pixel of the result is not its last axis");
    data_T kept[CONFIG_T::last_stays ? pixels : 1];
    typename data_T::value_type words[CONFIG_T::last_stays ? 1 : n];
    #pragma HLS ARRAY_PARTITION variable=words complete
ReadLoop:
    for (unsigned i = 0; i < pixels; i++) {
        #pragma HLS PIPELINE II=1
        const data_T in = data.read();
        if (CONFIG_T::last_stays) {
            kept[CONFIG_T::last_stays ? i : 0] = in;
        } else {
        CopyLoop:
            for (unsigned j = 0; j < data_T::size; j++) {
                #pragma HLS UNROLL
                words[CONFIG_T::last_stays ? 0 : i * data_T::size + j] = in[j];
            }
        }
    }
Axis0:
    for (unsigned i0 = 0; i0 < CONFIG_T::size0; i0++) {
    Axis1:
        for (unsigned i1 = 0; i1 < CONFIG_T::size1; i1++) {
        Axis2:
            for (unsigned i2 = 0; i2 < CONFIG_T::size2; i2++) {
                #pragma HLS PIPELINE II=1
                const unsigned first = i0 * CONFIG_T::from0 + i1 * CONFIG_T::from1 + i2 * CONFIG_T::from2;
                const data_T pixel = kept[CONFIG_T::last_stays ? first / data_T::size : 0];
                res_T out;
            ChannelLoop:
                for (unsigned c = 0; c < res_T::size; c++) {
                    #pragma HLS UNROLL
                    const unsigned from = first + c * CONFIG_T::from3;
                    out[c] = typename res_T::value_type(CONFIG_T::last_stays ? pixel[c]
                                                                             : words[CONFIG_T::last_stays ? 0 : from]);
                }
                res.write(out);
            }
        }
    }
}

} // namespace nnet

#endif
