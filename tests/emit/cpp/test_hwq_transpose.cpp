#include "hwq_transpose.h"
#include "run_both.h"

using namespace check;

template <unsigned S0, unsigned S1, unsigned S2, unsigned S3, unsigned F0, unsigned F1, unsigned F2, unsigned F3, bool KEEP>
struct Config : nnet::hwq_transpose_config {
    static const unsigned size0 = S0, size1 = S1, size2 = S2, size3 = S3;
    static const unsigned from0 = F0, from1 = F1, from2 = F2, from3 = F3;
    static const bool last_stays = KEEP;
};

// A tensor of shape (2, 3, 4, 5); axis k of the result is axis Pk of the tensor. Values are indices.
template <unsigned P0, unsigned P1, unsigned P2, unsigned P3> void compare() {
    const unsigned shape[4] = {2, 3, 4, 5}, order[4] = {P0, P1, P2, P3};
    constexpr unsigned size[4] = {2, 3, 4, 5}, stride[4] = {60, 20, 5, 1};
    typedef Config<size[P0], size[P1], size[P2], size[P3], stride[P0], stride[P1], stride[P2], stride[P3], P3 == 3> config;
    const Row data = range(0, 119);
    Row want(120);
    for (unsigned at = 0; at < 120; at++) { // scatter
        unsigned index[4], rest = at, to = 0;
        for (unsigned axis = 4; axis-- > 0; rest /= shape[axis]) {
            index[axis] = rest % shape[axis];
        }
        for (unsigned axis = 0; axis < 4; axis++) {
            to = to * shape[order[axis]] + index[order[axis]];
        }
        want[to] = data[at];
    }
    RUN_BOTH(hwq_transpose, UInt<7>, 5, Int<8>, size[P3], config, data, want);
}

int main() {
    compare<0, 1, 2, 3>();
    compare<0, 2, 1, 3>();
    compare<2, 0, 1, 3>();
    compare<0, 1, 3, 2>();
    compare<3, 2, 1, 0>();
    compare<1, 3, 0, 2>();
    return finish();
}
