#include "hwq_global_sum.h"
#include "run_both.h"

using namespace check;

template <unsigned S0, unsigned S1, unsigned S2, unsigned S3, unsigned T0, unsigned T1, unsigned T2, unsigned T3, unsigned N>
struct Config : nnet::hwq_global_sum_config {
    static const unsigned size0 = S0, size1 = S1, size2 = S2, size3 = S3;
    static const unsigned stride0 = T0, stride1 = T1, stride2 = T2, stride3 = T3;
    static const unsigned n_out = N;
};

// Result by result: all elements whose kept axes are where it is.
static Row expected(const Row &data, const std::vector<unsigned> &shape, const std::vector<bool> &summed) {
    std::size_t n_out = 1;
    for (std::size_t axis = 0; axis < 4; axis++) {
        n_out *= summed[axis] ? 1 : shape[axis];
    }
    Row sums(n_out, 0);
    for (std::size_t at = 0; at < data.size(); at++) {
        std::size_t rest = at, to = 0, weight = 1;
        for (std::size_t axis = 4; axis-- > 0; rest /= shape[axis]) {
            if (!summed[axis]) {
                to += rest % shape[axis] * weight;
                weight *= shape[axis];
            }
        }
        sums[to] += data[at];
    }
    return sums;
}

template <class CONFIG_T, unsigned IN, unsigned OUT>
void compare(const std::vector<unsigned> &shape, const std::vector<bool> &summed) {
    const std::size_t n = shape[0] * shape[1] * shape[2] * shape[3];
    std::vector<Row> rows = {Row(n, -4), Row(n, 3)};
    for (int round = 0; round < 20; round++) {
        rows.push_back(random_row(n, -4, 3));
    }
    for (const Row &data : rows) {
        RUN_BOTH(hwq_global_sum, Int<3>, IN, Int<10>, OUT, CONFIG_T, data, expected(data, shape, summed));
    }
}

int main() {
    compare<Config<1, 3, 4, 2, 0, 0, 0, 1, 2>, 2, 2>({1, 3, 4, 2}, {false, true, true, false}); // global average's sum
    compare<Config<1, 3, 4, 2, 0, 2, 0, 1, 6>, 2, 2>({1, 3, 4, 2}, {false, false, true, false}); // over the columns
    compare<Config<1, 3, 4, 2, 0, 4, 1, 0, 12>, 2, 1>({1, 3, 4, 2}, {false, false, false, true}); // over the channels
    compare<Config<2, 3, 4, 5, 0, 0, 0, 0, 1>, 5, 1>({2, 3, 4, 5}, {true, true, true, true});
    compare<Config<2, 3, 4, 5, 5, 0, 0, 1, 10>, 5, 5>({2, 3, 4, 5}, {false, true, true, false});
    return finish();
}
