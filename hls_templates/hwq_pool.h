// Pooling with any window, stride, padding and dilation: the maximum, or the sum times row_factor * column_factor.
//
// For a maximum, `fill` is the lowest value of the tensor; for a sum it is 0.
#ifndef HWQ_POOL_H_
#define HWQ_POOL_H_

#include "hwq_window.h"

namespace nnet {

struct hwq_pool_config : hwq_window_config {
    static const bool maximum = true;
    // typedef types of the factors of each output row and column: row_factor_t, column_factor_t
};

template <class data_T, class res_T, typename CONFIG_T> void hwq_pool_step(const data_T &x, bool first, res_T &total) {
    #pragma HLS INLINE
    if (!CONFIG_T::maximum) {
        total = first ? res_T(x) : res_T(total + x);
    } else if (first || x > total) {
        total = x;
    }
}

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_pool(const data_T data[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan],
              res_T res[CONFIG_T::out_height * CONFIG_T::out_width * CONFIG_T::n_chan],
              const typename CONFIG_T::row_factor_t row_factor[CONFIG_T::out_height],
              const typename CONFIG_T::column_factor_t column_factor[CONFIG_T::out_width]) {
    #pragma HLS ARRAY_PARTITION variable=row_factor complete
    #pragma HLS ARRAY_PARTITION variable=column_factor complete
    #pragma HLS PIPELINE II=1
    unsigned at = 0;
RowLoop:
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
    ColumnLoop:
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
        ChannelLoop:
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                res_T total = 0;
            KernelRow:
                for (unsigned i = 0; i < CONFIG_T::kernel_height; i++) {
                KernelColumn:
                    for (unsigned j = 0; j < CONFIG_T::kernel_width; j++) {
                        hwq_pool_step<data_T, res_T, CONFIG_T>(
                            hwq_window_element<data_T, CONFIG_T>(data, row, column, i, j, c), i + j == 0, total);
                    }
                }
                res[at++] = CONFIG_T::maximum ? total : res_T(total * row_factor[row] * column_factor[column]);
            }
        }
    }
}

// One pixel of the padded tensor a cycle.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_pool(hls::stream<data_T> &data, hls::stream<res_T> &res,
              const typename CONFIG_T::row_factor_t row_factor[CONFIG_T::out_height],
              const typename CONFIG_T::column_factor_t column_factor[CONFIG_T::out_width]) {
    typedef hwq_span<CONFIG_T> span;
    static const unsigned width = span::width; // steps from the write of an element of a line to its next read
    typedef typename data_T::value_type value_T;
    typedef typename res_T::value_type total_T;
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
            #pragma HLS PIPELINE II=1
            #pragma HLS DEPENDENCE variable=lines inter RAW distance=width true
            const data_T pixel = hwq_window_pixel<data_T, CONFIG_T>(data, row, column);
            hwq_window_shift<data_T, CONFIG_T>(pixel, column, lines, window);
            if (hwq_window_writes<CONFIG_T>(row, column)) {
                const unsigned out_row = (row + 1 - span::rows) / CONFIG_T::stride_height;
                const unsigned out_column = (column + 1 - span::columns) / CONFIG_T::stride_width;
                res_T out;
            ChannelLoop:
                for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                    #pragma HLS UNROLL
                    total_T total = 0;
                KernelRow:
                    for (unsigned i = 0; i < CONFIG_T::kernel_height; i++) {
                        #pragma HLS UNROLL
                    KernelColumn:
                        for (unsigned j = 0; j < CONFIG_T::kernel_width; j++) {
                            #pragma HLS UNROLL
                            hwq_pool_step<value_T, total_T, CONFIG_T>(
                                window[i * CONFIG_T::dilation_height][j * CONFIG_T::dilation_width][c], i + j == 0,
                                total);
                        }
                    }
                    out[c] = CONFIG_T::maximum
                                 ? total
                                 : total_T(total * row_factor[out_row] * column_factor[out_column]);
                }
                res.write(out);
            }
        }
    }
}

} // namespace nnet

#endif
