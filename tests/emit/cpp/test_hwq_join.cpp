#include "hwq_join.h"
#include "check.h"

using namespace check;

template <unsigned S0, unsigned S1, unsigned S2, unsigned S3> struct Shape {
    static const unsigned s0 = S0, s1 = S1, s2 = S2, s3 = S3;
    static const unsigned n = S0 * S1 * S2 * S3;
    static const unsigned stride0 = S0 > 1 ? S1 * S2 * S3 : 0, stride1 = S1 > 1 ? S2 * S3 : 0;
    static const unsigned stride2 = S2 > 1 ? S3 : 0, stride3 = S3 > 1 ? 1 : 0;
};

template <class res_S, class a_S, class b_S, bool PRODUCT, unsigned N_CHAN> struct Config : nnet::hwq_join_config {
    static const unsigned size0 = res_S::s0, size1 = res_S::s1, size2 = res_S::s2, size3 = res_S::s3;
    static const unsigned a0 = a_S::stride0, a1 = a_S::stride1, a2 = a_S::stride2, a3 = a_S::stride3, n_a = a_S::n;
    static const unsigned b0 = b_S::stride0, b1 = b_S::stride1, b2 = b_S::stride2, b3 = b_S::stride3, n_b = b_S::n;
    static const bool a_in_step = a_S::s0 == size0 && a_S::s1 == size1 && a_S::s2 == size2;
    static const bool b_in_step = b_S::s0 == size0 && b_S::s1 == size1 && b_S::s2 == size2;
    static const bool product = PRODUCT;
    static const unsigned n_chan = N_CHAN;
    typedef Int<4> mult0_t;
    typedef Int<3> mult1_t;
    typedef Int<6> add_t;
};

// The tensor with its axes of size 1 repeated.
template <class res_S, class S> Row repeated(const Row &data) {
    Row row;
    for (unsigned i = 0; i < res_S::s0; i++) {
        for (unsigned j = 0; j < res_S::s1; j++) {
            for (unsigned k = 0; k < res_S::s2; k++) {
                for (unsigned c = 0; c < res_S::s3; c++) {
                    const unsigned pixel = ((i % S::s0) * S::s1 + j % S::s1) * S::s2 + k % S::s2;
                    row.push_back(data[pixel * S::s3 + c % S::s3]);
                }
            }
        }
    }
    return row;
}

template <class res_S, class a_S, class b_S, bool PRODUCT, unsigned N_CHAN> void compare() {
    typedef Config<res_S, a_S, b_S, PRODUCT, N_CHAN> config;
    for (int round = 0; round < 20; round++) {
        const Row a = random_row(a_S::n, -8, 7), b = random_row(b_S::n, 0, 15);
        const Row mult0 = random_row(N_CHAN, -8, 7), mult1 = random_row(N_CHAN, -4, 3), add = random_row(N_CHAN, -32, 31);
        const Row all_a = repeated<res_S, a_S>(a), all_b = repeated<res_S, b_S>(b);
        Row want;
        for (std::size_t i = 0; i < all_a.size(); i++) {
            const std::size_t c = i % res_S::s3 % N_CHAN;
            const long long sum = mult0[c] * all_a[i] + mult1[c] * all_b[i] + add[c];
            want.push_back(PRODUCT ? all_a[i] * all_b[i] : sum);
        }
        const auto m0 = typed<Int<4>>(mult0);
        const auto m1 = typed<Int<3>>(mult1);
        const auto s = typed<Int<6>>(add);
        const std::vector<Int<4>> in_a = typed<Int<4>>(a);
        const std::vector<UInt<4>> in_b = typed<UInt<4>>(b);
        std::vector<Int<10>> res(want.size());
        nnet::hwq_join<Int<4>, UInt<4>, Int<10>, config>(in_a.data(), in_b.data(), res.data(), m0.data(), m1.data(),
                                                         s.data());
        CHECK_EQUAL(untyped(res), want, a << " and " << b);

        hls::stream<Pixel<Int<4>, a_S::s3>> from_a;
        hls::stream<Pixel<UInt<4>, b_S::s3>> from_b;
        hls::stream<Pixel<Int<10>, res_S::s3>> out;
        write(from_a, a);
        write(from_b, b);
        nnet::hwq_join<Pixel<Int<4>, a_S::s3>, Pixel<UInt<4>, b_S::s3>, Pixel<Int<10>, res_S::s3>, config>(
            from_a, from_b, out, m0.data(), m1.data(), s.data());
        CHECK_EQUAL(from_a.empty() && from_b.empty(), true, "the input streams are read to their end");
        CHECK_EQUAL(read_all(out), want, "stream, " << a << " and " << b);
    }
}

template <class res_S, class a_S, class b_S> void sums_and_products() {
    compare<res_S, a_S, b_S, false, res_S::s3>();
    compare<res_S, a_S, b_S, false, 1>();
    compare<res_S, a_S, b_S, true, 1>();
}

int main() {
    typedef Shape<1, 3, 4, 2> image;
    sums_and_products<image, image, image>();
    sums_and_products<image, image, Shape<1, 1, 1, 2>>(); // squeeze and excitation
    sums_and_products<image, Shape<1, 1, 1, 1>, image>();
    sums_and_products<image, image, Shape<1, 3, 4, 1>>();
    sums_and_products<image, Shape<1, 3, 1, 2>, Shape<1, 1, 4, 1>>();
    sums_and_products<image, image, Shape<1, 1, 4, 2>>();
    sums_and_products<Shape<2, 3, 2, 3>, Shape<2, 1, 2, 3>, Shape<1, 3, 1, 1>>();
    sums_and_products<Shape<1, 1, 1, 5>, Shape<1, 1, 1, 5>, Shape<1, 1, 1, 5>>();
    return finish();
}
