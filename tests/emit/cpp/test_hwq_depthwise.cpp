#include "hwq_depthwise.h"
#include "run_both.h"
#include "windows.h"

using namespace check;

struct Base : nnet::hwq_depthwise_config {
    typedef Int<4> weights_t;
};

template <class CONFIG_T> Row expected(const Row &data, const Row &weights) {
    Row res;
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                long long sum = 0;
                for (std::size_t at = c; at < weights.size(); at += CONFIG_T::n_chan) {
                    const unsigned place = static_cast<unsigned>(at) / CONFIG_T::n_chan;
                    const unsigned i = place / CONFIG_T::kernel_width, j = place % CONFIG_T::kernel_width;
                    const unsigned at_row = row * CONFIG_T::stride_height + i * CONFIG_T::dilation_height;
                    const unsigned at_column = column * CONFIG_T::stride_width + j * CONFIG_T::dilation_width;
                    sum += weights[at] * padded<CONFIG_T>(data, at_row, at_column, c, 0);
                }
                res.push_back(sum);
            }
        }
    }
    return res;
}

template <class CONFIG_T> void convolution() {
    for (int round = 0; round < 10; round++) {
        const Row data = random_row(CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan, -8, 7);
        const Row weights = random_row(CONFIG_T::kernel_height * CONFIG_T::kernel_width * CONFIG_T::n_chan, -8, 7);
        const auto w = typed<Int<4>>(weights);
        const Row want = expected<CONFIG_T>(data, weights);
        RUN_BOTH(hwq_depthwise, Int<4>, CONFIG_T::n_chan, Int<11>, CONFIG_T::n_chan, CONFIG_T, data, want, , w.data());
    }
}

int main() {
    FOR_EVERY_WINDOW(convolution, Base);
    return finish();
}
