#include "hwq_upsample.h"
#include "run_both.h"

using namespace check;

template <unsigned HEIGHT, unsigned WIDTH, unsigned N_CHAN, unsigned ROWS, unsigned COLUMNS>
struct Config : nnet::hwq_upsample_config {
    static const unsigned height = HEIGHT;
    static const unsigned width = WIDTH;
    static const unsigned n_chan = N_CHAN;
    static const unsigned rows = ROWS;
    static const unsigned columns = COLUMNS;
};

// First every pixel, then every row, as often as asked. Values are indices.
template <unsigned HEIGHT, unsigned WIDTH, unsigned N_CHAN, unsigned ROWS, unsigned COLUMNS> void compare() {
    typedef Config<HEIGHT, WIDTH, N_CHAN, ROWS, COLUMNS> config;
    const Row data = range(0, HEIGHT * WIDTH * N_CHAN - 1);
    Row want;
    for (unsigned h = 0; h < HEIGHT; h++) {
        Row line;
        for (unsigned w = 0; w < WIDTH; w++) {
            const auto pixel = data.begin() + (h * WIDTH + w) * N_CHAN;
            for (unsigned b = 0; b < COLUMNS; b++) {
                line.insert(line.end(), pixel, pixel + N_CHAN);
            }
        }
        for (unsigned a = 0; a < ROWS; a++) {
            want.insert(want.end(), line.begin(), line.end());
        }
    }
    RUN_BOTH(hwq_upsample, UInt<7>, N_CHAN, Int<8>, N_CHAN, config, data, want);
}

int main() {
    compare<3, 4, 2, 2, 3>();
    compare<2, 3, 3, 1, 2>();
    compare<2, 3, 1, 4, 1>();
    compare<1, 1, 5, 2, 2>();
    compare<3, 2, 2, 1, 1>();
    return finish();
}
