// What windowed layers share: a tensor (in_height, in_width, n_chan), padded, and a window that moves over it.
#ifndef HWQ_WINDOW_H_
#define HWQ_WINDOW_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_window_config {
    static const unsigned in_height = 1, in_width = 1, n_chan = 1;
    static const unsigned out_height = 1, out_width = 1;
    static const unsigned kernel_height = 1, kernel_width = 1;
    static const unsigned stride_height = 1, stride_width = 1;
    static const unsigned dilation_height = 1, dilation_width = 1;
    static const unsigned pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
    static const long long fill = 0; // what padding holds
};

// Rows and columns that the window covers, gaps of the dilation included, and the padded tensor's.
template <typename CONFIG_T> struct hwq_span {
    static const unsigned rows = (CONFIG_T::kernel_height - 1) * CONFIG_T::dilation_height + 1;
    static const unsigned columns = (CONFIG_T::kernel_width - 1) * CONFIG_T::dilation_width + 1;
    static const unsigned height = CONFIG_T::in_height + CONFIG_T::pad_top + CONFIG_T::pad_bottom;
    static const unsigned width = CONFIG_T::in_width + CONFIG_T::pad_left + CONFIG_T::pad_right;
    static const unsigned kept = rows > 1 ? rows - 1 : 1; // rows in the line buffer
};

// Element of the window at output (row, column), kernel position (i, j); `fill` outside the tensor.
template <class data_T, typename CONFIG_T>
data_T hwq_window_element(const data_T *data, unsigned row, unsigned column, unsigned i, unsigned j, unsigned c) {
    #pragma HLS INLINE
    const int h = int(row * CONFIG_T::stride_height + i * CONFIG_T::dilation_height) - int(CONFIG_T::pad_top);
    const int w = int(column * CONFIG_T::stride_width + j * CONFIG_T::dilation_width) - int(CONFIG_T::pad_left);
    const bool inside = h >= 0 && h < int(CONFIG_T::in_height) && w >= 0 && w < int(CONFIG_T::in_width);
    const int from = (h * int(CONFIG_T::in_width) + w) * int(CONFIG_T::n_chan) + int(c);
    return inside ? data[inside ? from : 0] : data_T(CONFIG_T::fill);
}

// Whether the padded position (row, column) is a pixel of the tensor.
template <typename CONFIG_T> bool hwq_window_reads(unsigned row, unsigned column) {
    #pragma HLS INLINE
    return row >= CONFIG_T::pad_top && row < CONFIG_T::pad_top + CONFIG_T::in_height && column >= CONFIG_T::pad_left &&
           column < CONFIG_T::pad_left + CONFIG_T::in_width;
}

// Whether the window whose last corner is the padded position (row, column) makes an output.
template <typename CONFIG_T> bool hwq_window_writes(unsigned row, unsigned column) {
    #pragma HLS INLINE
    typedef hwq_span<CONFIG_T> span;
    if (row + 1 < span::rows || column + 1 < span::columns) {
        return false;
    }
    const unsigned top = row + 1 - span::rows;
    const unsigned left = column + 1 - span::columns;
    return top % CONFIG_T::stride_height == 0 && left % CONFIG_T::stride_width == 0 &&
           top / CONFIG_T::stride_height < CONFIG_T::out_height && left / CONFIG_T::stride_width < CONFIG_T::out_width;
}

// A pixel of the tensor, or of padding.
template <class data_T, typename CONFIG_T>
data_T hwq_window_pixel(hls::stream<data_T> &data, unsigned row, unsigned column) {
    #pragma HLS INLINE
    data_T pixel;
    if (hwq_window_reads<CONFIG_T>(row, column)) {
        pixel = data.read();
    } else {
    FillLoop:
        for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
            #pragma HLS UNROLL
            pixel[c] = typename data_T::value_type(CONFIG_T::fill);
        }
    }
    return pixel;
}

// The window moves by one column: its new last column is the line buffer's and the pixel.
template <class data_T, typename CONFIG_T>
void hwq_window_shift(const data_T &pixel, unsigned column,
                      typename data_T::value_type lines[hwq_span<CONFIG_T>::kept][hwq_span<CONFIG_T>::width]
                                                       [CONFIG_T::n_chan],
                      typename data_T::value_type window[hwq_span<CONFIG_T>::rows][hwq_span<CONFIG_T>::columns]
                                                        [CONFIG_T::n_chan]) {
    #pragma HLS INLINE
    typedef hwq_span<CONFIG_T> span;
ChannelLoop:
    for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
        #pragma HLS UNROLL
    RowLoop:
        for (unsigned i = 0; i < span::rows; i++) {
            #pragma HLS UNROLL
        ColumnLoop:
            for (unsigned j = 0; j + 1 < span::columns; j++) {
                #pragma HLS UNROLL
                window[i][j][c] = window[i][j + 1][c];
            }
            const bool newest = i + 1 == span::rows;
            window[i][span::columns - 1][c] = newest ? pixel[c] : lines[newest ? 0 : i][column][c];
        }
    LineLoop:
        for (unsigned i = 0; i + 1 < span::rows; i++) {
            #pragma HLS UNROLL
            lines[i][column][c] = window[i + 1][span::columns - 1][c];
        }
    }
}

} // namespace nnet

#endif
