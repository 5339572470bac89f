#include "hwq_pool.h"
#include "run_both.h"
#include "windows.h"

using namespace check;

template <bool MAXIMUM, int FILL> struct Base : nnet::hwq_pool_config {
    static const bool maximum = MAXIMUM;
    static const long long fill = FILL;
    typedef UInt<3> row_factor_t;
    typedef UInt<4> column_factor_t;
};
typedef Base<true, -8> Max;
typedef Base<false, 0> Sum;

template <class CONFIG_T> Row expected(const Row &data, const Row &row_factor, const Row &column_factor) {
    Row res;
    for (unsigned row = 0; row < CONFIG_T::out_height; row++) {
        for (unsigned column = 0; column < CONFIG_T::out_width; column++) {
            for (unsigned c = 0; c < CONFIG_T::n_chan; c++) {
                long long highest = -1000, sum = 0;
                for (unsigned i = 0; i < CONFIG_T::kernel_height; i++) {
                    for (unsigned j = 0; j < CONFIG_T::kernel_width; j++) {
                        const unsigned at_row = row * CONFIG_T::stride_height + i * CONFIG_T::dilation_height;
                        const unsigned at_column = column * CONFIG_T::stride_width + j * CONFIG_T::dilation_width;
                        const long long x = padded<CONFIG_T>(data, at_row, at_column, c, CONFIG_T::fill);
                        highest = x > highest ? x : highest;
                        sum += x;
                    }
                }
                res.push_back(CONFIG_T::maximum ? highest : sum * row_factor[row] * column_factor[column]);
            }
        }
    }
    return res;
}

template <class CONFIG_T> void pool() {
    const std::size_t n = CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan;
    std::vector<Row> rows = {Row(n, -8), Row(n, 7)};
    for (int round = 0; round < 10; round++) {
        rows.push_back(random_row(n, -8, 7));
    }
    for (const Row &data : rows) {
        const Row row_factor = random_row(CONFIG_T::out_height, 1, 7);
        const Row column_factor = random_row(CONFIG_T::out_width, 1, 15);
        const auto by_row = typed<UInt<3>>(row_factor);
        const auto by_column = typed<UInt<4>>(column_factor);
        const Row want = expected<CONFIG_T>(data, row_factor, column_factor);
        RUN_BOTH(hwq_pool, Int<4>, CONFIG_T::n_chan, Int<16>, CONFIG_T::n_chan, CONFIG_T, data, want, , by_row.data(),
                 by_column.data());
    }
}

int main() {
    FOR_EVERY_WINDOW(pool, Max);
    FOR_EVERY_WINDOW(pool, Sum);
    return finish();
}
