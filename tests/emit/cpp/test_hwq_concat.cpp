#include "hwq_concat.h"
#include "check.h"

using namespace check;

template <unsigned OUTER, unsigned FIRST, unsigned SECOND, bool LAST> struct Config : nnet::hwq_concat_config {
    static const unsigned outer = OUTER;
    static const unsigned first_inner = FIRST;
    static const unsigned second_inner = SECOND;
    static const bool last = LAST;
};

// Every element has its own value, so that a wrong order shows.
template <unsigned OUTER, unsigned FIRST, unsigned SECOND, bool LAST, unsigned IN_A, unsigned IN_B, unsigned OUT>
void compare() {
    typedef Config<OUTER, FIRST, SECOND, LAST> config;
    const Row a = range(-100, int(OUTER * FIRST) - 101), b = range(100, int(OUTER * SECOND) + 99);
    Row want;
    for (unsigned i = 0; i < OUTER; i++) {
        want.insert(want.end(), a.begin() + i * FIRST, a.begin() + (i + 1) * FIRST);
        want.insert(want.end(), b.begin() + i * SECOND, b.begin() + (i + 1) * SECOND);
    }
    const std::vector<Int<8>> in_a = typed<Int<8>>(a);
    const std::vector<UInt<8>> in_b = typed<UInt<8>>(b);
    std::vector<Int<9>> res(want.size());
    nnet::hwq_concat<Int<8>, UInt<8>, Int<9>, config>(in_a.data(), in_b.data(), res.data());
    CHECK_EQUAL(untyped(res), want, "array");

    hls::stream<Pixel<Int<8>, IN_A>> from_a;
    hls::stream<Pixel<UInt<8>, IN_B>> from_b;
    hls::stream<Pixel<Int<9>, OUT>> out;
    write(from_a, a);
    write(from_b, b);
    nnet::hwq_concat<Pixel<Int<8>, IN_A>, Pixel<UInt<8>, IN_B>, Pixel<Int<9>, OUT>, config>(from_a, from_b, out);
    CHECK_EQUAL(from_a.empty() && from_b.empty(), true, "the input streams are read to their end");
    CHECK_EQUAL(read_all(out), want, "stream");
}

int main() {
    compare<6, 3, 2, true, 3, 2, 5>();   // along the channels
    compare<6, 1, 4, true, 1, 4, 5>();
    compare<1, 6, 4, true, 6, 4, 10>();  // vectors
    compare<4, 6, 4, false, 2, 2, 2>();  // along the columns
    compare<1, 24, 12, false, 4, 4, 4>(); // along the rows
    return finish();
}
