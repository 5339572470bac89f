// Any function of one integer. As a table: y = values[c][x - lo]. As constant pieces:
// y = values[c][#{k : x >= breaks[c][k]}]. n_chan is 1 or the size of the last axis.
#ifndef HWQ_LUT_H_
#define HWQ_LUT_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_table_config {
    static const unsigned n_in = 1;      // elements of the tensor
    static const unsigned n_chan = 1;    // rows of the table
    static const unsigned n_entries = 1; // columns
    static const long long lo = 0;       // input of the first column
    // typedef unsigned type for 0..n_entries - 1: index_t
    // typedef type of the values: values_t
};

struct hwq_pieces_config {
    static const unsigned n_in = 1;     // elements of the tensor
    static const unsigned n_chan = 1;   // rows of breaks and of values
    static const unsigned n_breaks = 1; // columns of breaks; there is one more of values
    // typedef unsigned type for 0..n_breaks: count_t
    // typedef types of the breaks and of the values: breaks_t, values_t
};

template <class data_T, class res_T, typename CONFIG_T>
res_T hwq_table_one(const data_T &x, unsigned c,
                    const typename CONFIG_T::values_t values[CONFIG_T::n_chan * CONFIG_T::n_entries]) {
    #pragma HLS INLINE
    const typename CONFIG_T::index_t index = x - CONFIG_T::lo;
    return res_T(values[c * CONFIG_T::n_entries + unsigned(index)]);
}

template <class data_T, class res_T, typename CONFIG_T>
res_T hwq_pieces_one(const data_T &x, unsigned c,
                     const typename CONFIG_T::breaks_t breaks[CONFIG_T::n_chan * CONFIG_T::n_breaks],
                     const typename CONFIG_T::values_t values[CONFIG_T::n_chan * (CONFIG_T::n_breaks + 1)]) {
    #pragma HLS INLINE
    typename CONFIG_T::count_t count = 0;
CountLoop:
    for (unsigned k = 0; k < CONFIG_T::n_breaks; k++) {
        #pragma HLS UNROLL
        if (x >= breaks[c * CONFIG_T::n_breaks + k]) {
            count++;
        }
    }
    return res_T(values[c * (CONFIG_T::n_breaks + 1) + unsigned(count)]);
}

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_table(const data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_in],
               const typename CONFIG_T::values_t values[CONFIG_T::n_chan * CONFIG_T::n_entries]) {
    #pragma HLS ARRAY_PARTITION variable=values complete
    #pragma HLS PIPELINE II=1
ElementLoop:
    for (unsigned i = 0; i < CONFIG_T::n_in; i++) {
        #pragma HLS UNROLL
        res[i] = hwq_table_one<data_T, res_T, CONFIG_T>(data[i], i % CONFIG_T::n_chan, values);
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void hwq_pieces(const data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_in],
                const typename CONFIG_T::breaks_t breaks[CONFIG_T::n_chan * CONFIG_T::n_breaks],
                const typename CONFIG_T::values_t values[CONFIG_T::n_chan * (CONFIG_T::n_breaks + 1)]) {
    #pragma HLS ARRAY_PARTITION variable=breaks complete
    #pragma HLS ARRAY_PARTITION variable=values complete
    #pragma HLS PIPELINE II=1
ElementLoop:
    for (unsigned i = 0; i < CONFIG_T::n_in; i++) {
        #pragma HLS UNROLL
        res[i] = hwq_pieces_one<data_T, res_T, CONFIG_T>(data[i], i % CONFIG_T::n_chan, breaks, values);
    }
}

// One pixel a cycle. The output's pixel may be a whole number of input pixels (after an in-place flatten).
template <class data_T, class res_T, typename CONFIG_T>
void hwq_table(hls::stream<data_T> &data, hls::stream<res_T> &res,
               const typename CONFIG_T::values_t values[CONFIG_T::n_chan * CONFIG_T::n_entries]) {
    #pragma HLS ARRAY_PARTITION variable=values complete
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
            out[first + j] = hwq_table_one<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(
                in[j], (i * data_T::size + j) % CONFIG_T::n_chan, values);
        }
        if (first + data_T::size == res_T::size) {
            res.write(out);
        }
    }
}

template <class data_T, class res_T, typename CONFIG_T>
void hwq_pieces(hls::stream<data_T> &data, hls::stream<res_T> &res,
                const typename CONFIG_T::breaks_t breaks[CONFIG_T::n_chan * CONFIG_T::n_breaks],
                const typename CONFIG_T::values_t values[CONFIG_T::n_chan * (CONFIG_T::n_breaks + 1)]) {
    #pragma HLS ARRAY_PARTITION variable=breaks complete
    #pragma HLS ARRAY_PARTITION variable=values complete
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
            out[first + j] = hwq_pieces_one<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(
                in[j], (i * data_T::size + j) % CONFIG_T::n_chan, breaks, values);
        }
        if (first + data_T::size == res_T::size) {
            res.write(out);
        }
    }
}

} // namespace nnet

#endif
