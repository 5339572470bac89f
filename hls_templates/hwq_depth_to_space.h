// Channels become pixels: (height, width, block * block * depth) to (height * block, width * block, depth).
//
// The channel axis holds (block, block, depth) if `dcr`, else (depth, block, block).
#ifndef HWQ_DEPTH_TO_SPACE_H_
#define HWQ_DEPTH_TO_SPACE_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_depth_to_space_config {
    static const unsigned height = 1, width = 1; // of the tensor
    static const unsigned block = 1;
    static const unsigned depth = 1; // channels of the result
    static const bool dcr = true;
};

template <typename CONFIG_T> unsigned hwq_depth_to_space_channel(unsigned row, unsigned column, unsigned c) {
    #pragma HLS INLINE
    return CONFIG_T::dcr ? (row * CONFIG_T::block + column) * CONFIG_T::depth + c
                         : (c * CONFIG_T::block + row) * CONFIG_T::block + column;
}

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_depth_to_space(
    const data_T data[CONFIG_T::height * CONFIG_T::width * CONFIG_T::block * CONFIG_T::block * CONFIG_T::depth],
    res_T res[CONFIG_T::height * CONFIG_T::width * CONFIG_T::block * CONFIG_T::block * CONFIG_T::depth]) {
    #pragma HLS PIPELINE II=1
    static const unsigned n_chan = CONFIG_T::block * CONFIG_T::block * CONFIG_T::depth;
    unsigned at = 0;
RowLoop:
    for (unsigned h = 0; h < CONFIG_T::height * CONFIG_T::block; h++) {
    ColumnLoop:
        for (unsigned w = 0; w < CONFIG_T::width * CONFIG_T::block; w++) {
        ChannelLoop:
            for (unsigned c = 0; c < CONFIG_T::depth; c++) {
                const unsigned pixel = (h / CONFIG_T::block) * CONFIG_T::width + w / CONFIG_T::block;
                const unsigned from =
                    hwq_depth_to_space_channel<CONFIG_T>(h % CONFIG_T::block, w % CONFIG_T::block, c);
                res[at++] = res_T(data[pixel * n_chan + from]);
            }
        }
    }
}

// One pixel of the result a cycle; a row is kept until all its parts are out.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_depth_to_space(hls::stream<data_T> &data, hls::stream<res_T> &res) {
    data_T row[CONFIG_T::width];
RowLoop:
    for (unsigned h = 0; h < CONFIG_T::height; h++) {
    BlockRow:
        for (unsigned a = 0; a < CONFIG_T::block; a++) {
        ColumnLoop:
            for (unsigned w = 0; w < CONFIG_T::width; w++) {
            BlockColumn:
                for (unsigned b = 0; b < CONFIG_T::block; b++) {
                    #pragma HLS PIPELINE II=1
                    if (a == 0 && b == 0) {
                        row[w] = data.read();
                    }
                    const data_T in = row[w];
                    res_T out;
                ChannelLoop:
                    for (unsigned c = 0; c < res_T::size; c++) {
                        #pragma HLS UNROLL
                        out[c] = typename res_T::value_type(in[hwq_depth_to_space_channel<CONFIG_T>(a, b, c)]);
                    }
                    res.write(out);
                }
            }
        }
    }
}

} // namespace nnet

#endif
