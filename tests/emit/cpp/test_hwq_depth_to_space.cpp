#include "hwq_depth_to_space.h"
#include "run_both.h"

using namespace check;

template <unsigned HEIGHT, unsigned WIDTH, unsigned BLOCK, unsigned DEPTH, bool DCR>
struct Config : nnet::hwq_depth_to_space_config {
    static const unsigned height = HEIGHT;
    static const unsigned width = WIDTH;
    static const unsigned block = BLOCK;
    static const unsigned depth = DEPTH;
    static const bool dcr = DCR;
};

// Scatter: every input element goes to its place. Its value is its index.
template <unsigned HEIGHT, unsigned WIDTH, unsigned BLOCK, unsigned DEPTH, bool DCR> void compare() {
    typedef Config<HEIGHT, WIDTH, BLOCK, DEPTH, DCR> config;
    const unsigned n_chan = BLOCK * BLOCK * DEPTH;
    const Row data = range(0, HEIGHT * WIDTH * n_chan - 1);
    Row want(data.size());
    for (unsigned h = 0; h < HEIGHT; h++) {
        for (unsigned w = 0; w < WIDTH; w++) {
            for (unsigned channel = 0; channel < n_chan; channel++) {
                const unsigned depth = DCR ? channel % DEPTH : channel / (BLOCK * BLOCK);
                const unsigned place = DCR ? channel / DEPTH : channel % (BLOCK * BLOCK);
                const unsigned row = h * BLOCK + place / BLOCK, column = w * BLOCK + place % BLOCK;
                want[(row * WIDTH * BLOCK + column) * DEPTH + depth] = data[(h * WIDTH + w) * n_chan + channel];
            }
        }
    }
    RUN_BOTH(hwq_depth_to_space, UInt<8>, BLOCK * BLOCK * DEPTH, UInt<8>, DEPTH, config, data, want);
}

int main() {
    compare<2, 3, 2, 2, true>();
    compare<2, 3, 2, 2, false>();
    compare<3, 2, 3, 1, true>();
    compare<1, 3, 3, 2, false>();
    compare<2, 2, 1, 3, true>();
    return finish();
}
