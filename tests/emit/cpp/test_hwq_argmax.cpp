#include "hwq_argmax.h"
#include "run_both.h"

using namespace check;

template <unsigned N_IN, unsigned N_CHAN> struct Config : nnet::hwq_argmax_config {
    static const unsigned n_in = N_IN;
    static const unsigned n_chan = N_CHAN;
};

static Row expected(const Row &data, std::size_t n_chan) {
    Row res;
    for (std::size_t i = 0; i < data.size(); i += n_chan) {
        long long best = 0;
        for (std::size_t c = n_chan; c-- > 0;) {
            best = data[i + c] >= data[i + static_cast<std::size_t>(best)] ? static_cast<long long>(c) : best;
        }
        res.push_back(best);
    }
    return res;
}

template <unsigned N_CHAN> void random_rows() {
    typedef Config<3 * N_CHAN, N_CHAN> config;
    for (int round = 0; round < 200; round++) {
        const Row data = random_row(3 * N_CHAN, -4, 3);
        RUN_BOTH(hwq_argmax, Int<3>, N_CHAN, UInt<4>, 1, config, data, expected(data, N_CHAN));
    }
}

int main() {
    typedef Config<3, 3> three;
    for (long long a = -4; a < 4; a++) { // every triple: all ties
        for (long long b = -4; b < 4; b++) {
            for (long long c = -4; c < 4; c++) {
                const Row data = {a, b, c};
                RUN_BOTH(hwq_argmax, Int<3>, 3, UInt<2>, 1, three, data, expected(data, 3));
            }
        }
    }
    const Row worked = {-4, 3, 1, 3, 3, -4};
    CHECK_EQUAL(expected(worked, 3), (Row{1, 0}), "the expected values themselves");
    random_rows<1>();
    random_rows<2>();
    random_rows<10>();
    return finish();
}
