#include "hwq_matmul.h"
#include "check.h"

using namespace check;

template <unsigned BATCH, unsigned ROWS, unsigned TERMS, unsigned COLUMNS> struct Config : nnet::hwq_matmul_config {
    static const unsigned batch = BATCH, rows = ROWS, terms = TERMS, columns = COLUMNS;
};

template <unsigned BATCH, unsigned ROWS, unsigned TERMS, unsigned COLUMNS> void compare(const Row &a, const Row &b) {
    typedef Config<BATCH, ROWS, TERMS, COLUMNS> config;
    Row want(BATCH * ROWS * COLUMNS, 0);
    for (std::size_t i = 0; i < a.size(); i++) { // scatter
        const std::size_t row = i / TERMS, term = i % TERMS, n = row / ROWS;
        for (std::size_t column = 0; column < COLUMNS; column++) {
            want[row * COLUMNS + column] += a[i] * b[(n * TERMS + term) * COLUMNS + column];
        }
    }
    const std::vector<Int<4>> in_a = typed<Int<4>>(a);
    const std::vector<UInt<3>> in_b = typed<UInt<3>>(b);
    std::vector<Int<10>> res(want.size());
    nnet::hwq_matmul<Int<4>, UInt<3>, Int<10>, config>(in_a.data(), in_b.data(), res.data());
    CHECK_EQUAL(untyped(res), want, a << " times " << b);

    hls::stream<Pixel<Int<4>, TERMS>> from_a;
    hls::stream<Pixel<UInt<3>, COLUMNS>> from_b;
    hls::stream<Pixel<Int<10>, COLUMNS>> out;
    write(from_a, a);
    write(from_b, b);
    nnet::hwq_matmul<Pixel<Int<4>, TERMS>, Pixel<UInt<3>, COLUMNS>, Pixel<Int<10>, COLUMNS>, config>(from_a, from_b,
                                                                                                     out);
    CHECK_EQUAL(from_a.empty() && from_b.empty(), true, "the input streams are read to their end");
    CHECK_EQUAL(read_all(out), want, "stream, " << a << " times " << b);
}

template <unsigned BATCH, unsigned ROWS, unsigned TERMS, unsigned COLUMNS> void shape() {
    const std::size_t n_a = BATCH * ROWS * TERMS, n_b = BATCH * TERMS * COLUMNS;
    compare<BATCH, ROWS, TERMS, COLUMNS>(Row(n_a, -8), Row(n_b, 7));
    compare<BATCH, ROWS, TERMS, COLUMNS>(Row(n_a, 7), Row(n_b, 7));
    for (int round = 0; round < 30; round++) {
        compare<BATCH, ROWS, TERMS, COLUMNS>(random_row(n_a, -8, 7), random_row(n_b, 0, 7));
    }
}

int main() {
    shape<1, 2, 3, 4>();
    shape<3, 2, 5, 2>();
    shape<2, 1, 1, 3>();
    shape<1, 4, 8, 1>();
    return finish();
}
