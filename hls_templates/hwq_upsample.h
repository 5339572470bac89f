// Nearest-neighbour upsampling of (height, width, n_chan): each row and each column repeated.
#ifndef HWQ_UPSAMPLE_H_
#define HWQ_UPSAMPLE_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_upsample_config {
    static const unsigned height = 1, width = 1, n_chan = 1; // of the tensor
    static const unsigned rows = 1, columns = 1;             // how often each is repeated
};

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_upsample(const data_T data[CONFIG_T::height * CONFIG_T::width * CONFIG_T::n_chan],
                  res_T res[CONFIG_T::height * CONFIG_T::rows * CONFIG_T::width * CONFIG_T::columns *
                            CONFIG_T::n_chan]) {
    #pragma HLS PIPELINE II=1
    unsigned at = 0;
RowLoop:
    for (unsigned h = 0; h < CONFIG_T::height * CONFIG_T::rows; h++) {
    ColumnLoop:
        for (unsigned w = 0; w < CONFIG_T::width * CONFIG_T::columns; w++) {
        ChannelLoop:
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                const unsigned from = (h / CONFIG_T::rows) * CONFIG_T::width + w / CONFIG_T::columns;
                res[at++] = res_T(data[from * CONFIG_T::n_chan + c]);
            }
        }
    }
}

// One pixel of the result a cycle; a row is kept until it was repeated.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_upsample(hls::stream<data_T> &data, hls::stream<res_T> &res) {
    data_T row[CONFIG_T::width];
RowLoop:
    for (unsigned h = 0; h < CONFIG_T::height; h++) {
    RepeatRow:
        for (unsigned a = 0; a < CONFIG_T::rows; a++) {
        ColumnLoop:
            for (unsigned w = 0; w < CONFIG_T::width; w++) {
            RepeatColumn:
                for (unsigned b = 0; b < CONFIG_T::columns; b++) {
                    #pragma HLS PIPELINE II=1
                    if (a == 0 && b == 0) {
                        row[w] = data.read();
                    }
                    const data_T in = row[w];
                    res_T out;
                ChannelLoop:
                    for (unsigned c = 0; c < res_T::size; c++) {
                        #pragma HLS UNROLL
                        out[c] = typename res_T::value_type(in[c]);
                    }
                    res.write(out);
                }
            }
        }
    }
}

} // namespace nnet

#endif
