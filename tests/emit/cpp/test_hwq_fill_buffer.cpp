#include "hwq_fill_buffer.h"
#include "windows.h"

using namespace check;

struct Nothing {};

// As hls4ml's configuration of a convolution: a window without gaps, its pixels in PARTITIONS groups.
template <class CONFIG_T, unsigned PARTITIONS> struct Config : CONFIG_T {
    static const unsigned filt_height = CONFIG_T::kernel_height, filt_width = CONFIG_T::kernel_width;
    static const unsigned n_partitions = PARTITIONS;
    static const unsigned n_pixels = CONFIG_T::out_height * CONFIG_T::out_width / PARTITIONS;
};

template <class CONFIG_T> void partitions() {
    static const unsigned n_window = CONFIG_T::filt_height * CONFIG_T::filt_width * CONFIG_T::n_chan;
    for (int round = 0; round < 5; round++) {
        const Row data = random_row(CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan, 1, 15);
        std::vector<UInt<4>> words = typed<UInt<4>>(data);
        for (unsigned partition = 0; partition < CONFIG_T::n_partitions; partition++) {
            UInt<4> buffer[CONFIG_T::n_pixels][n_window];
            nnet::hwq_fill_buffer<UInt<4>, CONFIG_T, Nothing, CONFIG_T::pad_top, CONFIG_T::pad_left>::fill_buffer(
                words.data(), buffer, partition);
            for (unsigned p = 0; p < CONFIG_T::n_pixels; p++) {
                const unsigned pixel = partition * CONFIG_T::n_pixels + p;
                const unsigned top = pixel / CONFIG_T::out_width * CONFIG_T::stride_height;
                const unsigned left = pixel % CONFIG_T::out_width * CONFIG_T::stride_width;
                Row got, want;
                for (unsigned at = 0; at < n_window; at++) {
                    const unsigned tap = at / CONFIG_T::n_chan, c = at % CONFIG_T::n_chan;
                    const unsigned i = tap / CONFIG_T::filt_width, j = tap % CONFIG_T::filt_width;
                    want.push_back(padded<CONFIG_T>(data, top + i, left + j, c, 0));
                    got.push_back(buffer[p][at].to_int64());
                }
                CHECK_EQUAL(got, want, "window of pixel " << pixel);
            }
        }
    }
}

// The image, the window, its stride, its padding.
template <class in_T, unsigned N_CHAN, class kernel_T, class stride_T, class pads_T, unsigned PARTITIONS> void windows() {
    partitions<Config<Windowed<Nothing, in_T, N_CHAN, kernel_T, stride_T, Pair<1, 1>, pads_T>, PARTITIONS>>();
}

int main() {
    windows<Pair<4, 4>, 2, Pair<2, 2>, Pair<2, 2>, Pads<0, 0, 0, 0>, 1>();
    windows<Pair<4, 4>, 2, Pair<2, 2>, Pair<2, 2>, Pads<0, 0, 0, 0>, 4>();
    windows<Pair<5, 6>, 2, Pair<3, 3>, Pair<1, 1>, Pads<1, 1, 1, 1>, 6>();
    windows<Pair<5, 6>, 1, Pair<3, 2>, Pair<2, 1>, Pads<0, 1, 2, 0>, 3>();
    windows<Pair<6, 7>, 3, Pair<2, 3>, Pair<1, 2>, Pads<1, 0, 0, 2>, 2>();
    windows<Pair<3, 4>, 3, Pair<1, 1>, Pair<1, 1>, Pads<0, 0, 0, 0>, 12>();
    windows<Pair<1, 9>, 2, Pair<1, 3>, Pair<1, 2>, Pads<0, 1, 0, 1>, 5>();
    return finish();
}
