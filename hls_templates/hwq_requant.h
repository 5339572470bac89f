// Requantisation: y = saturate(round((x * mult[c] + add[c]) / 2^shift), lo, hi), exactly.
//
// With two slopes, low_mult and low_add take the places of mult and add where x < pivot[c].
//
// wide_t is a signed integer type that hwq proves to hold x * mult + add and the rounding summand.
// Rounding is down (half_even = false) or to the nearest with ties to even. n_chan is 1 or the size
// of the last axis.
#ifndef HWQ_REQUANT_H_
#define HWQ_REQUANT_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_requant_config {
    static const unsigned n_in = 1;   // elements of the tensor
    static const unsigned n_chan = 1; // multipliers
    static const unsigned shift = 0;
    static const bool half_even = false;
    static const long long lo = 0;
    static const long long hi = 0;
    // typedef types of mult, add and the intermediate: mult_t, add_t, wide_t
    // and, with two slopes, of low_mult, low_add and pivot: low_mult_t, low_add_t, pivot_t
};

// Ties to even: x / 2^s goes up when its fraction exceeds one half, or equals it and the quotient is
// odd; that is floor((x + 2^(s-1) - 1 + odd) / 2^s).
template <class wide_T, typename CONFIG_T> wide_T hwq_shift(const wide_T &x) {
    #pragma HLS INLINE
    static const bool rounds = CONFIG_T::half_even && CONFIG_T::shift > 0;
    static const long long below_half = rounds ? (1LL << (CONFIG_T::shift - (rounds ? 1 : 0))) - 1 : 0;
    const wide_T floor = x >> CONFIG_T::shift;
    if (!rounds) {
        return floor;
    }
    const wide_T odd = floor & wide_T(1);
    const wide_T moved = x + wide_T(below_half) + odd;
    return moved >> CONFIG_T::shift;
}

// Rounding, shift and saturation.
template <class res_T, typename CONFIG_T> res_T hwq_requant_finish(const typename CONFIG_T::wide_t &scaled) {
    #pragma HLS INLINE
    typedef typename CONFIG_T::wide_t wide_T;
    const wide_T rounded = hwq_shift<wide_T, CONFIG_T>(scaled);
    if (rounded < CONFIG_T::lo) {
        return res_T(CONFIG_T::lo);
    }
    if (rounded > CONFIG_T::hi) {
        return res_T(CONFIG_T::hi);
    }
    return res_T(rounded);
}

// One element of channel c.
template <class data_T, class res_T, typename CONFIG_T>
res_T hwq_requant_one(const data_T &x, unsigned c, const typename CONFIG_T::mult_t mult[CONFIG_T::n_chan],
                      const typename CONFIG_T::add_t add[CONFIG_T::n_chan]) {
    #pragma HLS INLINE
    const typename CONFIG_T::wide_t scaled = x * mult[c] + add[c];
    return hwq_requant_finish<res_T, CONFIG_T>(scaled);
}

// The same with two slopes.
template <class data_T, class res_T, typename CONFIG_T>
res_T hwq_requant_one(const data_T &x, unsigned c, const typename CONFIG_T::mult_t mult[CONFIG_T::n_chan],
                      const typename CONFIG_T::add_t add[CONFIG_T::n_chan],
                      const typename CONFIG_T::low_mult_t low_mult[CONFIG_T::n_chan],
                      const typename CONFIG_T::low_add_t low_add[CONFIG_T::n_chan],
                      const typename CONFIG_T::pivot_t pivot[CONFIG_T::n_chan]) {
    #pragma HLS INLINE
    typename CONFIG_T::wide_t scaled;
    if (x < pivot[c]) {
        scaled = x * low_mult[c] + low_add[c];
    } else {
        scaled = x * mult[c] + add[c];
    }
    return hwq_requant_finish<res_T, CONFIG_T>(scaled);
}

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_requant(const data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_in],
                 const typename CONFIG_T::mult_t mult[CONFIG_T::n_chan],
                 const typename CONFIG_T::add_t add[CONFIG_T::n_chan]) {
    #pragma HLS ARRAY_PARTITION variable=mult complete
    #pragma HLS ARRAY_PARTITION variable=add complete
    #pragma HLS PIPELINE II=1
ElementLoop:
    for (unsigned i = 0; i < CONFIG_T::n_in; i++) {
        #pragma HLS UNROLL
        res[i] = hwq_requant_one<data_T, res_T, CONFIG_T>(data[i], i % CONFIG_T::n_chan, mult, add);
    }
}

// One pixel a cycle. The output's pixel may be a whole number of input pixels (after an in-place flatten).
template <class data_T, class res_T, typename CONFIG_T>
void hwq_requant(hls::stream<data_T> &data, hls::stream<res_T> &res,
                 const typename CONFIG_T::mult_t mult[CONFIG_T::n_chan],
                 const typename CONFIG_T::add_t add[CONFIG_T::n_chan]) {
    #pragma HLS ARRAY_PARTITION variable=mult complete
    #pragma HLS ARRAY_PARTITION variable=add complete
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
            out[first + j] = hwq_requant_one<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(
                in[j], (i * data_T::size + j) % CONFIG_T::n_chan, mult, add);
        }
        if (first + data_T::size == res_T::size) {
            res.write(out);
        }
    }
}

// Whole tensor in parallel, two slopes.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_requant(const data_T data[CONFIG_T::n_in], res_T res[CONFIG_T::n_in],
                 const typename CONFIG_T::mult_t mult[CONFIG_T::n_chan],
                 const typename CONFIG_T::add_t add[CONFIG_T::n_chan],
                 const typename CONFIG_T::low_mult_t low_mult[CONFIG_T::n_chan],
                 const typename CONFIG_T::low_add_t low_add[CONFIG_T::n_chan],
                 const typename CONFIG_T::pivot_t pivot[CONFIG_T::n_chan]) {
    #pragma HLS ARRAY_PARTITION variable=mult complete
    #pragma HLS ARRAY_PARTITION variable=add complete
    #pragma HLS ARRAY_PARTITION variable=low_mult complete
    #pragma HLS ARRAY_PARTITION variable=low_add complete
    #pragma HLS ARRAY_PARTITION variable=pivot complete
    #pragma HLS PIPELINE II=1
ElementLoop:
    for (unsigned i = 0; i < CONFIG_T::n_in; i++) {
        #pragma HLS UNROLL
        res[i] = hwq_requant_one<data_T, res_T, CONFIG_T>(data[i], i % CONFIG_T::n_chan, mult, add, low_mult,
                                                          low_add, pivot);
    }
}

// One pixel a cycle, two slopes.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_requant(hls::stream<data_T> &data, hls::stream<res_T> &res,
                 const typename CONFIG_T::mult_t mult[CONFIG_T::n_chan],
                 const typename CONFIG_T::add_t add[CONFIG_T::n_chan],
                 const typename CONFIG_T::low_mult_t low_mult[CONFIG_T::n_chan],
                 const typename CONFIG_T::low_add_t low_add[CONFIG_T::n_chan],
                 const typename CONFIG_T::pivot_t pivot[CONFIG_T::n_chan]) {
    #pragma HLS ARRAY_PARTITION variable=mult complete
    #pragma HLS ARRAY_PARTITION variable=add complete
    #pragma HLS ARRAY_PARTITION variable=low_mult complete
    #pragma HLS ARRAY_PARTITION variable=low_add complete
    #pragma HLS ARRAY_PARTITION variable=pivot complete
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
            out[first + j] = hwq_requant_one<typename data_T::value_type, typename res_T::value_type, CONFIG_T>(
                in[j], (i * data_T::size + j) % CONFIG_T::n_chan, mult, add, low_mult, low_add, pivot);
        }
        if (first + data_T::size == res_T::size) {
            res.write(out);
        }
    }
}

} // namespace nnet

#endif
