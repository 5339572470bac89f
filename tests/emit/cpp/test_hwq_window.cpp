#include "hwq_window.h"
#include "windows.h"

using namespace check;

struct Base : nnet::hwq_window_config {
    static const long long fill = -8;
};

// The elements under the window at an output, kernel rows first.
template <class CONFIG_T> Row under(const Row &data, unsigned row, unsigned column, unsigned c) {
    Row window;
    for (unsigned i = 0; i < CONFIG_T::kernel_height; i++) {
        for (unsigned j = 0; j < CONFIG_T::kernel_width; j++) {
            const unsigned at_row = row * CONFIG_T::stride_height + i * CONFIG_T::dilation_height;
            const unsigned at_column = column * CONFIG_T::stride_width + j * CONFIG_T::dilation_width;
            window.push_back(padded<CONFIG_T>(data, at_row, at_column, c, Base::fill));
        }
    }
    return window;
}

template <class CONFIG_T> void elements(const Row &data) {
    const std::vector<Int<4>> words = typed<Int<4>>(data);
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                Row window;
                for (unsigned i = 0; i < CONFIG_T::kernel_height; i++) {
                    for (unsigned j = 0; j < CONFIG_T::kernel_width; j++) {
                        window.push_back(
                            nnet::hwq_window_element<Int<4>, CONFIG_T>(words.data(), row, column, i, j, c).to_int64());
                    }
                }
                CHECK_EQUAL(window, (under<CONFIG_T>(data, row, column, c)), "window " << row << " " << column);
            }
        }
    }
}

// The windows that the stream's line buffer makes, in the order in which it makes them.
template <class CONFIG_T> void line_buffer(const Row &data) {
    typedef nnet::hwq_span<CONFIG_T> span;
    typedef Pixel<Int<4>, CONFIG_T::n_chan> pixel_T;
    Int<4> lines[span::kept][span::width][CONFIG_T::n_chan];
    Int<4> window[span::rows][span::columns][CONFIG_T::n_chan];
    hls::stream<pixel_T> stream;
    write(stream, data);
    unsigned made = 0;
    for (unsigned row = 0; row < span::height; row++) {
        for (unsigned column = 0; column < span::width; column++) {
            const pixel_T pixel = nnet::hwq_window_pixel<pixel_T, CONFIG_T>(stream, row, column);
            nnet::hwq_window_shift<pixel_T, CONFIG_T>(pixel, column, lines, window);
            if (!nnet::hwq_window_writes<CONFIG_T>(row, column)) {
                continue;
            }
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                Row got;
                for (unsigned i = 0; i < CONFIG_T::kernel_height; i++) {
                    for (unsigned j = 0; j < CONFIG_T::kernel_width; j++) {
                        got.push_back(
                            window[i * CONFIG_T::dilation_height][j * CONFIG_T::dilation_width][c].to_int64());
                    }
                }
                const unsigned width = CONFIG_T::out_width;
                CHECK_EQUAL(got, (under<CONFIG_T>(data, made / width, made % width, c)), "stream window " << made);
            }
            made++;
        }
    }
    CHECK_EQUAL(made, CONFIG_T::out_height * CONFIG_T::out_width, "number of windows");
    CHECK_EQUAL(stream.empty(), true, "the stream is read to its end");
}

template <class CONFIG_T> void windows() {
    for (int round = 0; round < 5; round++) {
        const Row data = random_row(CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan, -7, 7);
        elements<CONFIG_T>(data);
        line_buffer<CONFIG_T>(data);
    }
}

int main() {
    FOR_EVERY_WINDOW(windows, Base);
    return finish();
}
