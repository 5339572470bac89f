// Depthwise convolution: each channel with its own window of weights (kernel_height, kernel_width, n_chan).
//
// reuse_factor cycles for each output pixel, so that the tool shares multipliers. Partial sums may wrap: the
// final value fits the result.
#ifndef HWQ_DEPTHWISE_H_
#define HWQ_DEPTHWISE_H_

#include "hwq_window.h"

namespace nnet {

struct hwq_depthwise_config : hwq_window_config {
    static const unsigned reuse_factor = 1;
    // typedef type of the weights: weights_t
};

// Whole tensor in parallel; output pixels follow each other.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_depthwise(const data_T data[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan],
                   res_T res[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_chan],
                   const typename CONFIG_T::weights_t
                       weights[CONFIG_T::kernel_height * CONFIG_T::kernel_width * CONFIG_T::n_chan]) {
    #pragma HLS ARRAY_PARTITION variable=weights complete
RowLoop:
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
    ColumnLoop:
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
        ChannelLoop:
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                res_T total = 0;
            KernelRow:
                for (unsigned i = 0; i < CONFIG_T::kernel_height; i++) {
                KernelColumn:
                    for (unsigned j = 0; j < CONFIG_T::kernel_width; j++) {
                        total += hwq_window_element<data_T, CONFIG_T>(data, row, column, i, j, c) *
                                 weights[(i * CONFIG_T::kernel_width + j) * CONFIG_T::n_chan + c];
                    }
                }
                res[(row * CONFIG_T::out_width + column) * CONFIG_T::n_chan + c] = total;
            }
        }
    }
}

// One pixel of the padded tensor each reuse_factor cycles.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_depthwise(hls::stream<data_T> &data, hls::stream<res_T> &res,
                   const typename CONFIG_T::weights_t
                       weights[CONFIG_T::kernel_height * CONFIG_T::kernel_width * CONFIG_T::n_chan]) {
    #pragma HLS ARRAY_PARTITION variable=weights complete
    typedef hwq_span<CONFIG_T> span;
    static const unsigned width = span::width; // steps from the write of an element of a line to its next read
    typedef typename data_T::value_type value_T;
    static_assert(data_T::size == CONFIG_T::n_chan && res_T::size == CONFIG_T::n_chan, "a pixel is not the last axis");
    value_T lines[span::kept][width][CONFIG_T::n_chan];
    #pragma HLS ARRAY_PARTITION variable=lines complete dim=1
    #pragma HLS ARRAY_PARTITION variable=lines complete dim=3
    value_T window[span::rows][span::columns][CONFIG_T::n_chan];
    #pragma HLS ARRAY_PARTITION variable=window complete dim=0
RowLoop:
    for (unsigned row = 0; row < span::height; row++) {
    ColumnLoop:
        for (unsigned column = 0; column < width; column++) {
            #pragma HLS PIPELINE II=CONFIG_T::reuse_factor
            #pragma HLS DEPENDENCE variable=lines inter RAW distance=width true
            const data_T pixel = hwq_window_pixel<data_T, CONFIG_T>(data, row, column);
            hwq_window_shift<data_T, CONFIG_T>(pixel, column, lines, window);
            if (hwq_window_writes<CONFIG_T>(row, column)) {
                res_T out;
            ChannelLoop:
                for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                    #pragma HLS UNROLL
                    typename res_T::value_type total = 0;
                KernelRow:
                    for (unsigned i = 0; i < CONFIG_T::kernel_height; i++) {
                        #pragma HLS UNROLL
                    KernelColumn:
                        for (unsigned j = 0; j < CONFIG_T::kernel_width; j++) {
                            #pragma HLS UNROLL
                            total += window[i * CONFIG_T::dilation_height][j * CONFIG_T::dilation_width][c] *
                                     weights[(i * CONFIG_T::kernel_width + j) * CONFIG_T::n_chan + c];
                        }
                    }
                    out[c] = total;
                }
                res.write(out);
            }
        }
    }
}

} // namespace nnet

#endif
