// More elements around a tensor of four axes (leading ones of size 1), and with `every` > 1 between its elements.
//
// mode 0 fills with a constant, 1 reflects, 2 repeats the edge; only mode 0 spaces elements out. A reflection
// or repetition needs the tensor whole before its first output pixel.
#ifndef HWQ_PAD_H_
#define HWQ_PAD_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_pad_config {
    static const unsigned in0 = 1, in1 = 1, in2 = 1, in3 = 1;             // sizes of the tensor
    static const unsigned out0 = 1, out1 = 1, out2 = 1, out3 = 1;         // sizes of the result
    static const unsigned before0 = 0, before1 = 0, before2 = 0, before3 = 0;
    static const unsigned every0 = 1, every1 = 1, every2 = 1, every3 = 1; // distance of neighbours in the result
    static const unsigned mode = 0;
    static const long long fill = 0;
};

// Where element `at` of the result's axis comes from; -1: from nowhere.
template <typename CONFIG_T> int hwq_pad_source(int at, int before, int size, int every) {
    #pragma HLS INLINE
    const int moved = at - before;
    if (CONFIG_T::mode == 0) {
        return moved < 0 || moved % every != 0 || moved / every >= size ? -1 : moved / every;
    }
    if (CONFIG_T::mode == 1) {
        const int back = moved < 0 ? -moved : moved;
        return back < size ? back : 2 * (size - 1) - back;
    }
    return moved < 0 ? 0 : moved < size ? moved : size - 1;
}

// Whole tensor in parallel.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_pad(const data_T data[CONFIG_T::in0 * CONFIG_T::in1 * CONFIG_T::in2 * CONFIG_T::in3],
             res_T res[CONFIG_T::out0 * CONFIG_T::out1 * CONFIG_T::out2 * CONFIG_T::out3]) {
    #pragma HLS PIPELINE II=1
    unsigned at = 0;
Axis0:
    for (unsigned o0 = 0; o0 < CONFIG_T::out0; o0++) {
        const int i0 = hwq_pad_source<CONFIG_T>(int(o0), CONFIG_T::before0, CONFIG_T::in0, CONFIG_T::every0);
    Axis1:
        for (unsigned o1 = 0; o1 < CONFIG_T::out1; o1++) {
            const int i1 = hwq_pad_source<CONFIG_T>(int(o1), CONFIG_T::before1, CONFIG_T::in1, CONFIG_T::every1);
        Axis2:
            for (unsigned o2 = 0; o2 < CONFIG_T::out2; o2++) {
                const int i2 = hwq_pad_source<CONFIG_T>(int(o2), CONFIG_T::before2, CONFIG_T::in2, CONFIG_T::every2);
            Axis3:
                for (unsigned o3 = 0; o3 < CONFIG_T::out3; o3++) {
                    const int i3 =
                        hwq_pad_source<CONFIG_T>(int(o3), CONFIG_T::before3, CONFIG_T::in3, CONFIG_T::every3);
                    const bool inside = i0 >= 0 && i1 >= 0 && i2 >= 0 && i3 >= 0;
                    const int from =
                        ((i0 * int(CONFIG_T::in1) + i1) * int(CONFIG_T::in2) + i2) * int(CONFIG_T::in3) + i3;
                    res[at++] = inside ? res_T(data[inside ? from : 0]) : res_T(CONFIG_T::fill);
                }
            }
        }
    }
}

// One pixel of the result a cycle.
template <class data_T, class res_T, typename CONFIG_T>
void hwq_pad(hls::stream<data_T> &data, hls::stream<res_T> &res) {
    typedef typename res_T::value_type value_T;
    static const bool whole = CONFIG_T::mode != 0;
    static const unsigned pixels = CONFIG_T::in0 * CONFIG_T::in1 * CONFIG_T::in2;
    static_assert(data_T::size == CONFIG_T::in3 && res_T::size == CONFIG_T::out3, "a pixel is not the last axis");
    data_T kept[whole ? pixels : 1];
    if (whole) {
    ReadLoop:
        for (unsigned i = 0; i < pixels; i++) {
            #pragma HLS PIPELINE II=1
            kept[whole ? i : 0] = data.read();
        }
    }
Axis0:
    for (unsigned o0 = 0; o0 < CONFIG_T::out0; o0++) {
    Axis1:
        for (unsigned o1 = 0; o1 < CONFIG_T::out1; o1++) {
        Axis2:
            for (unsigned o2 = 0; o2 < CONFIG_T::out2; o2++) {
                #pragma HLS PIPELINE II=1
                const int i0 = hwq_pad_source<CONFIG_T>(int(o0), CONFIG_T::before0, CONFIG_T::in0, CONFIG_T::every0);
                const int i1 = hwq_pad_source<CONFIG_T>(int(o1), CONFIG_T::before1, CONFIG_T::in1, CONFIG_T::every1);
                const int i2 = hwq_pad_source<CONFIG_T>(int(o2), CONFIG_T::before2, CONFIG_T::in2, CONFIG_T::every2);
                const bool inside = i0 >= 0 && i1 >= 0 && i2 >= 0;
                const int from = (i0 * int(CONFIG_T::in1) + i1) * int(CONFIG_T::in2) + i2;
                data_T in;
                if (whole) {
                    in = kept[whole ? from : 0];
                } else if (inside) {
                    in = data.read();
                }
                res_T out;
            ChannelLoop:
                for (unsigned c = 0; c < res_T::size; c++) {
                    #pragma HLS UNROLL
                    const int i3 = hwq_pad_source<CONFIG_T>(int(c), CONFIG_T::before3, CONFIG_T::in3, CONFIG_T::every3);
                    const bool taken = inside && i3 >= 0;
                    out[c] = taken ? value_T(in[i3 >= 0 ? i3 : 0]) : value_T(CONFIG_T::fill);
                }
                res.write(out);
            }
        }
    }
}

} // namespace nnet

#endif
