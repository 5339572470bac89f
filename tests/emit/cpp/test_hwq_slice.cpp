#include "hwq_slice.h"
#include "run_both.h"

using namespace check;

template <unsigned OUTER, unsigned SIZE, unsigned INNER, unsigned START, int STEP, unsigned COUNT, bool LAST>
struct Config : nnet::hwq_slice_config {
    static const unsigned outer = OUTER;
    static const unsigned size = SIZE;
    static const unsigned inner = INNER;
    static const unsigned start = START;
    static const long long step = STEP;
    static const unsigned count = COUNT;
    static const bool last = LAST;
};

// Values are indices.
template <unsigned OUTER, unsigned SIZE, unsigned INNER, unsigned START, int STEP, unsigned COUNT, bool LAST, unsigned IN,
          unsigned OUT>
void compare() {
    typedef Config<OUTER, SIZE, INNER, START, STEP, COUNT, LAST> config;
    const Row data = range(0, OUTER * SIZE * INNER - 1);
    Row want;
    for (unsigned i = 0; i < OUTER; i++) {
        long long at = START;
        for (unsigned taken = 0; taken < COUNT; taken++, at += STEP) {
            const auto first = data.begin() + (i * SIZE + at) * INNER;
            want.insert(want.end(), first, first + INNER);
        }
    }
    RUN_BOTH(hwq_slice, UInt<7>, IN, Int<8>, OUT, config, data, want);
}

int main() {
    compare<1, 5, 6, 1, 1, 3, false, 3, 3>(); // rows
    compare<1, 5, 6, 0, 2, 3, false, 3, 3>();
    compare<3, 6, 2, 1, 2, 2, false, 2, 2>(); // columns
    compare<3, 6, 2, 5, 1, 1, false, 2, 2>();
    compare<2, 8, 2, 1, 3, 2, false, 2, 2>();
    compare<6, 7, 1, 2, 2, 2, true, 7, 2>(); // channels
    compare<6, 4, 1, 0, 1, 4, true, 4, 4>();
    return finish();
}
