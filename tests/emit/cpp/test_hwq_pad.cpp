#include "hwq_pad.h"
#include "run_both.h"

using namespace check;

// One axis: its size, how many more before and after, the distance of neighbours.
template <unsigned SIZE, unsigned BEFORE = 0, unsigned AFTER = 0, unsigned EVERY = 1> struct Axis {
    static const unsigned size = SIZE, before = BEFORE, after = AFTER, every = EVERY;
    static const unsigned out = BEFORE + (SIZE - 1) * EVERY + 1 + AFTER;
};

template <unsigned MODE, class A0, class A1, class A2, class A3> struct Config : nnet::hwq_pad_config {
    static const unsigned in0 = A0::size, in1 = A1::size, in2 = A2::size, in3 = A3::size;
    static const unsigned out0 = A0::out, out1 = A1::out, out2 = A2::out, out3 = A3::out;
    static const unsigned before0 = A0::before, before1 = A1::before, before2 = A2::before, before3 = A3::before;
    static const unsigned every0 = A0::every, every1 = A1::every, every2 = A2::every, every3 = A3::every;
    static const unsigned mode = MODE;
    static const long long fill = -3;
};

// Where the elements of a padded axis come from, written out; -1: the fill.
template <unsigned MODE, class A> Row sources() {
    Row from;
    for (int k = 0; k < int(A::before); k++) {
        from.push_back(MODE == 0 ? -1 : MODE == 1 ? int(A::before) - k : 0);
    }
    for (int k = 0; k < int(A::size); k++) {
        from.push_back(k);
        from.insert(from.end(), k + 1 < int(A::size) ? A::every - 1 : 0, -1);
    }
    for (int k = 0; k < int(A::after); k++) {
        from.push_back(MODE == 0 ? -1 : MODE == 1 ? int(A::size) - 2 - k : int(A::size) - 1);
    }
    return from;
}

template <unsigned MODE, class A0, class A1, class A2, class A3> void compare() {
    typedef Config<MODE, A0, A1, A2, A3> config;
    const Row data = range(0, A0::size * A1::size * A2::size * A3::size - 1);
    const long long fill = config::fill;
    Row want;
    for (long long i0 : sources<MODE, A0>()) {
        for (long long i1 : sources<MODE, A1>()) {
            for (long long i2 : sources<MODE, A2>()) {
                for (long long i3 : sources<MODE, A3>()) {
                    const bool inside = i0 >= 0 && i1 >= 0 && i2 >= 0 && i3 >= 0;
                    const long long at = ((i0 * A1::size + i1) * A2::size + i2) * A3::size + i3;
                    want.push_back(inside ? data[static_cast<std::size_t>(at)] : fill);
                }
            }
        }
    }
    RUN_BOTH(hwq_pad, UInt<7>, A3::size, Int<8>, A3::out, config, data, want);
}

int main() {
    compare<0, Axis<1>, Axis<3, 1, 2>, Axis<4, 2, 0>, Axis<2>>();
    compare<0, Axis<2, 1, 1>, Axis<2>, Axis<3, 0, 1>, Axis<2, 1, 2>>();
    compare<0, Axis<1>, Axis<3, 1, 1, 2>, Axis<4, 2, 0, 3>, Axis<2>>(); // as before a transposed convolution
    compare<0, Axis<1>, Axis<1>, Axis<1>, Axis<5, 0, 3>>();
    compare<1, Axis<1>, Axis<3, 1, 2>, Axis<4, 3, 0>, Axis<2>>();
    compare<1, Axis<1>, Axis<3>, Axis<4, 2, 3>, Axis<3, 2, 1>>();
    compare<2, Axis<1>, Axis<3, 1, 2>, Axis<4, 3, 0>, Axis<2>>();
    compare<2, Axis<2, 1, 1>, Axis<2, 0, 1>, Axis<1, 2, 2>, Axis<3, 1, 1>>();
    return finish();
}
