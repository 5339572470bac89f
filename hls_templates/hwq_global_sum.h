// Sums over whole axes of a tensor of four axes (leading ones of size 1).
#ifndef HWQ_GLOBAL_SUM_H_
#define HWQ_GLOBAL_SUM_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_global_sum_config {
    static const unsigned size0 = 1, size1 = 1, size2 = 1, size3 = 1;         // of the tensor
    static const unsigned stride0 = 0, stride1 = 0, stride2 = 0, stride3 = 0; // of the result; 0 where it is summed
    static const unsigned n_out = 1;                                          // elements of the result
};

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_global_sum(const data_T data[CONFIG_T::size0 * CONFIG_T::size1 * CONFIG_T::size2 * CONFIG_T::size3],
                    res_T res[CONFIG_T::n_out]) {
    #pragma HLS PIPELINE II=1
    res_T sums[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=sums complete
ResetLoop:
    for (unsigned i = 0; i < CONFIG_T::n_out; i++) {
        #pragma HLS UNROLL
        sums[i] = 0;
    }
    unsigned at = 0;
Axis0:
    for (unsigned i0 = 0; i0 < CONFIG_T::size0; i0++) {
    Axis1:
        for (unsigned i1 = 0; i1 < CONFIG_T::size1; i1++) {
        Axis2:
            for (unsigned i2 = 0; i2 < CONFIG_T::size2; i2++) {
            Axis3:
                for (unsigned i3 = 0; i3 < CONFIG_T::size3; i3++) {
                    sums[i0 * CONFIG_T::stride0 + i1 * CONFIG_T::stride1 + i2 * CONFIG_T::stride2 +
                         i3 * CONFIG_T::stride3] += data[at++];
                }
            }
        }
    }
ResultLoop:
    for (unsigned i = 0; i < CONFIG_T::n_out; i++) {
        #pragma HLS UNROLL
        res[i] = sums[i];
    }
}

// One input pixel a cycle, then one pixel of the result a cycle.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_global_sum(hls::stream<data_T> &data, hls::stream<res_T> &res) {
    typedef typename res_T::value_type value_T;
    value_T sums[CONFIG_T::n_out];
    #pragma HLS ARRAY_PARTITION variable=sums complete
ResetLoop:
    for (unsigned i = 0; i < CONFIG_T::n_out; i++) {
        #pragma HLS UNROLL
        sums[i] = 0;
    }
Axis0:
    for (unsigned i0 = 0; i0 < CONFIG_T::size0; i0++) {
    Axis1:
        for (unsigned i1 = 0; i1 < CONFIG_T::size1; i1++) {
        Axis2:
            for (unsigned i2 = 0; i2 < CONFIG_T::size2; i2++) {
                #pragma HLS PIPELINE II=1
                const data_T in = data.read();
                const unsigned first = i0 * CONFIG_T::stride0 + i1 * CONFIG_T::stride1 + i2 * CONFIG_T::stride2;
            Axis3:
                for (unsigned i3 = 0; i3 < CONFIG_T::size3; i3++) {
                    #pragma HLS UNROLL
                    sums[first + i3 * CONFIG_T::stride3] += in[i3];
                }
            }
        }
    }
ResultLoop:
    for (unsigned i = 0; i < CONFIG_T::n_out / res_T::size; i++) {
        #pragma HLS PIPELINE II=1
        res_T out;
    ChannelLoop:
        for (unsigned c = 0; c < res_T::size; c++) {
            #pragma HLS UNROLL
            out[c] = sums[i * res_T::size + c];
        }
        res.write(out);
    }
}

} // namespace nnet

#endif
