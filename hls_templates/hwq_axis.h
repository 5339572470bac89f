// AXI4-Stream around a network: 64-bit words to codes and back, in both io styles.
//
// Layout of an image: its codes in the graph's order (channels last), each in BITS = 8, 16, 32 or 64 bits,
// the smallest that holds it, sign-extended; code 0 in the lowest bits of word 0. So little-endian memory
// holds a plain array of int8 (uint8, int16, ...). Each image begins at a new word; the rest of its last word
// is zero.
//
// TLAST is set on the last word of the last image of a batch, never before. An AXI DMA in simple mode ends a
// transfer at TLAST: with one TLAST an image, software would have to start a transfer for every image, and
// with none, the transfer never ends. The number of images is an argument of the top function rather than
// taken from the inputs' TLAST: then several inputs cannot disagree about it.
//
// A clock moves gcd(codes in a word, codes in a pixel) codes; an array is one pixel. That is a word, or a
// pixel, except where neither divides the other (3 channels of 8 bits: a code a clock).
#ifndef HWQ_AXIS_H_
#define HWQ_AXIS_H_

#include "ap_axi_sdata.h"
#include "ap_fixed.h"
#include "ap_int.h"
#include "hls_stream.h"
#include <cstddef>

namespace hwq {

static const unsigned AXIS_BITS = 64;
typedef ap_axiu<AXIS_BITS, 0, 0, 0> AxisWord;
typedef hls::stream<AxisWord> AxisStream;

// Greatest common divisor of the codes in a word, a power of two up to 8, and those in a pixel.
constexpr unsigned common_lanes(unsigned count, unsigned n) {
    return (count | n) % 8 == 0 ? 8 : (count | n) % 4 == 0 ? 4 : (count | n) % 2 == 0 ? 2 : 1;
}

// How codes of BITS bits and pixels of N codes share words.
template <unsigned BITS, unsigned N> struct Lanes {
    static_assert(BITS == 8 || BITS == 16 || BITS == 32 || BITS == 64, "a code has the width of a NumPy type");
    static const unsigned count = AXIS_BITS / BITS;
    static const unsigned step = common_lanes(count, N);
};

// The integer in a lane, as the code's type.
template <unsigned BITS, class T> T unpack(const ap_uint<AXIS_BITS> &word, unsigned lane) {
    #pragma HLS INLINE
    static_assert(unsigned(T::width) <= BITS && T::iwidth == T::width, "an integer that fits its lane");
    const ap_int<BITS> code = word >> (lane * BITS);
    return T(code);
}

template <unsigned BITS, class T> ap_uint<AXIS_BITS> pack(const T &code, unsigned lane) {
    #pragma HLS INLINE
    static_assert(unsigned(T::width) <= BITS && T::iwidth == T::width, "an integer that fits its lane");
    const ap_int<BITS> extended = code;
    const ap_uint<BITS> bits = extended;
    return ap_uint<AXIS_BITS>(bits) << (lane * BITS);
}

inline void send(AxisStream &port, const ap_uint<AXIS_BITS> &word, bool last) {
    #pragma HLS INLINE
    AxisWord out;
    out.data = word;
    out.keep = -1;
    out.strb = -1;
    out.last = last;
    port.write(out);
}

// SIZE codes from `port` to the pixels of a stream.
template <unsigned BITS, unsigned SIZE, class T> void read_image(AxisStream &port, hls::stream<T> &x) {
    typedef Lanes<BITS, T::size> lanes;
    static_assert(SIZE % T::size == 0, "whole pixels");
    ap_uint<AXIS_BITS> word = 0;
    T pixel;
    #pragma HLS ARRAY_PARTITION variable=pixel.data complete
    unsigned lane = 0;
    unsigned at = 0;
    for (unsigned done = 0; done < SIZE; done += lanes::step) {
        #pragma HLS PIPELINE II=1
        if (lane == 0) {
            word = port.read().data;
        }
        for (unsigned i = 0; i < lanes::step; i++) {
            #pragma HLS UNROLL
            pixel[at + i] = unpack<BITS, typename T::value_type>(word, lane + i);
        }
        lane = (lane + lanes::step) % lanes::count;
        at += lanes::step;
        if (at == T::size) {
            x.write(pixel);
            at = 0;
        }
    }
}

// The same to an array, which is written at once: it is a channel between two processes.
template <unsigned BITS, unsigned SIZE, class T> void read_image(AxisStream &port, T (&x)[SIZE]) {
    typedef Lanes<BITS, SIZE> lanes;
    ap_uint<AXIS_BITS> word = 0;
    T codes[SIZE];
    #pragma HLS ARRAY_PARTITION variable=codes complete
    unsigned lane = 0;
    for (unsigned done = 0; done < SIZE; done += lanes::step) {
        #pragma HLS PIPELINE II=1
        if (lane == 0) {
            word = port.read().data;
        }
        for (unsigned i = 0; i < lanes::step; i++) {
            #pragma HLS UNROLL
            codes[done + i] = unpack<BITS, T>(word, lane + i);
        }
        lane = (lane + lanes::step) % lanes::count;
    }
    for (unsigned i = 0; i < SIZE; i++) {
        #pragma HLS UNROLL
        x[i] = codes[i];
    }
}

// SIZE codes from the pixels of a stream to `port`; TLAST where this is the last of the images.
template <unsigned BITS, unsigned SIZE, class T>
void write_image(hls::stream<T> &y, AxisStream &port, int image, int images) {
    typedef Lanes<BITS, T::size> lanes;
    static_assert(SIZE % T::size == 0, "whole pixels");
    ap_uint<AXIS_BITS> word = 0;
    T pixel;
    #pragma HLS ARRAY_PARTITION variable=pixel.data complete
    unsigned lane = 0;
    unsigned at = 0;
    for (unsigned done = 0; done < SIZE; done += lanes::step) {
        #pragma HLS PIPELINE II=1
        if (at == 0) {
            pixel = y.read();
        }
        for (unsigned i = 0; i < lanes::step; i++) {
            #pragma HLS UNROLL
            word |= pack<BITS>(pixel[at + i], lane + i);
        }
        lane += lanes::step;
        at = (at + lanes::step) % T::size;
        const bool ends = done + lanes::step == SIZE;
        if (lane == lanes::count || ends) {
            send(port, word, ends && image + 1 == images);
            word = 0;
            lane = 0;
        }
    }
}

// The same from an array, which is read at once.
template <unsigned BITS, unsigned SIZE, class T>
void write_image(const T (&y)[SIZE], AxisStream &port, int image, int images) {
    typedef Lanes<BITS, SIZE> lanes;
    ap_uint<AXIS_BITS> word = 0;
    T codes[SIZE];
    #pragma HLS ARRAY_PARTITION variable=codes complete
    for (unsigned i = 0; i < SIZE; i++) {
        #pragma HLS UNROLL
        codes[i] = y[i];
    }
    unsigned lane = 0;
    for (unsigned done = 0; done < SIZE; done += lanes::step) {
        #pragma HLS PIPELINE II=1
        for (unsigned i = 0; i < lanes::step; i++) {
            #pragma HLS UNROLL
            word |= pack<BITS>(codes[done + i], lane + i);
        }
        lane += lanes::step;
        const bool ends = done + lanes::step == SIZE;
        if (lane == lanes::count || ends) {
            send(port, word, ends && image + 1 == images);
            word = 0;
            lane = 0;
        }
    }
}

} // namespace hwq

#endif
