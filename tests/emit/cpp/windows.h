// What the tests of windowed layers share: a configuration with every parameter, and the padded tensor.
#ifndef HWQ_TESTS_WINDOWS_H_
#define HWQ_TESTS_WINDOWS_H_

#include "check.h"

// Two numbers: of rows and of columns.
template <unsigned H, unsigned W> struct Pair {
    static const unsigned height = H, width = W;
};
template <unsigned T, unsigned L, unsigned B, unsigned R> struct Pads {
    static const unsigned top = T, left = L, bottom = B, right = R;
};

template <class base_T, class in_T, unsigned N_CHAN, class kernel_T, class stride_T, class dilation_T, class pads_T>
struct Windowed : base_T {
    static const unsigned in_height = in_T::height, in_width = in_T::width, n_chan = N_CHAN;
    static const unsigned kernel_height = kernel_T::height, kernel_width = kernel_T::width;
    static const unsigned stride_height = stride_T::height, stride_width = stride_T::width;
    static const unsigned dilation_height = dilation_T::height, dilation_width = dilation_T::width;
    static const unsigned pad_top = pads_T::top, pad_left = pads_T::left;
    static const unsigned pad_bottom = pads_T::bottom, pad_right = pads_T::right;
    static const unsigned out_height =
        (in_height + pad_top + pad_bottom - (kernel_height - 1) * dilation_height - 1) / stride_height + 1;
    static const unsigned out_width =
        (in_width + pad_left + pad_right - (kernel_width - 1) * dilation_width - 1) / stride_width + 1;
};

// Calls BODY<config of the base>() for windows with and without overlap, gaps, padding, rests and borders.
#define FOR_EVERY_WINDOW(BODY, base_T)                                                                                 \
    BODY<Windowed<base_T, Pair<4, 4>, 2, Pair<2, 2>, Pair<2, 2>, Pair<1, 1>, Pads<0, 0, 0, 0>>>();                     \
    BODY<Windowed<base_T, Pair<5, 6>, 2, Pair<3, 3>, Pair<1, 1>, Pair<1, 1>, Pads<1, 1, 1, 1>>>();                     \
    BODY<Windowed<base_T, Pair<5, 6>, 1, Pair<3, 2>, Pair<2, 1>, Pair<1, 1>, Pads<0, 1, 2, 0>>>();                     \
    BODY<Windowed<base_T, Pair<6, 7>, 2, Pair<2, 3>, Pair<1, 2>, Pair<2, 2>, Pads<1, 0, 1, 2>>>();                     \
    BODY<Windowed<base_T, Pair<7, 7>, 1, Pair<2, 2>, Pair<3, 3>, Pair<1, 1>, Pads<0, 0, 0, 0>>>();                     \
    BODY<Windowed<base_T, Pair<3, 4>, 3, Pair<1, 1>, Pair<1, 1>, Pair<1, 1>, Pads<0, 0, 0, 0>>>();                     \
    BODY<Windowed<base_T, Pair<3, 4>, 1, Pair<1, 1>, Pair<2, 2>, Pair<1, 1>, Pads<0, 0, 0, 0>>>();                     \
    BODY<Windowed<base_T, Pair<1, 9>, 2, Pair<1, 3>, Pair<1, 2>, Pair<1, 1>, Pads<0, 1, 0, 1>>>();                     \
    BODY<Windowed<base_T, Pair<8, 1>, 2, Pair<3, 1>, Pair<2, 1>, Pair<1, 1>, Pads<1, 0, 1, 0>>>();                     \
    BODY<Windowed<base_T, Pair<2, 3>, 2, Pair<2, 3>, Pair<1, 1>, Pair<1, 1>, Pads<0, 0, 0, 0>>>()

// Element of the tensor padded by `fill`, at padded coordinates.
template <class CONFIG_T>
long long padded(const check::Row &data, unsigned row, unsigned column, unsigned c, long long fill) {
    const unsigned top = CONFIG_T::pad_top, left = CONFIG_T::pad_left;
    const unsigned height = CONFIG_T::in_height, width = CONFIG_T::in_width, n_chan = CONFIG_T::n_chan;
    if (row < top || column < left || row - top >= height || column - left >= width) {
        return fill;
    }
    return data[((row - top) * width + column - left) * n_chan + c];
}

#endif
