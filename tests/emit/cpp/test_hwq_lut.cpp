#include "hwq_lut.h"
#include "run_both.h"

using namespace check;

template <unsigned N_IN, unsigned N_CHAN> struct Table : nnet::hwq_table_config {
    static const unsigned n_in = N_IN;
    static const unsigned n_chan = N_CHAN;
    static const unsigned n_entries = 20;
    static const long long lo = -9;
    typedef ap_uint<5> index_t;
    typedef Int<6> values_t;
};

template <unsigned N_IN, unsigned N_CHAN, unsigned N_BREAKS> struct Pieces : nnet::hwq_pieces_config {
    static const unsigned n_in = N_IN;
    static const unsigned n_chan = N_CHAN;
    static const unsigned n_breaks = N_BREAKS;
    typedef ap_uint<3> count_t;
    typedef Int<6> breaks_t;
    typedef Int<6> values_t;
};

template <unsigned N_CHAN, unsigned IN, unsigned OUT> void tables() {
    typedef Table<60, N_CHAN> config;
    for (int round = 0; round < 50; round++) {
        Row data = range(-9, 10);
        data.insert(data.end(), data.begin(), data.begin() + 20);
        const Row more = random_row(20, -9, 10);
        data.insert(data.end(), more.begin(), more.end());
        const Row values = random_row(20 * N_CHAN, -32, 31);
        Row want;
        for (std::size_t i = 0; i < data.size(); i++) {
            want.push_back(values[(i % N_CHAN) * 20 + static_cast<std::size_t>(data[i] + 9)]);
        }
        const std::vector<Int<6>> t = typed<Int<6>>(values);
        RUN_BOTH(hwq_table, Int<5>, IN, Int<6>, OUT, config, data, want, , t.data());
    }
}

// As a lookup in intervals: the last break that the input reaches says which value.
static long long piece(long long x, const Row &breaks, const Row &values) {
    std::size_t at = breaks.size();
    while (at > 0 && x < breaks[at - 1]) {
        at--;
    }
    return values[at];
}

template <unsigned N_CHAN, unsigned N_BREAKS, unsigned IN, unsigned OUT> void pieces() {
    typedef Pieces<96, N_CHAN, N_BREAKS> config;
    for (int round = 0; round < 50; round++) {
        Row breaks, values = random_row((N_BREAKS + 1) * N_CHAN, -32, 31);
        std::vector<Row> channel_breaks, channel_values;
        for (unsigned c = 0; c < N_CHAN; c++) {
            Row sorted = {random_row(1, -18, -10)[0]};
            while (sorted.size() < N_BREAKS) {
                sorted.push_back(sorted.back() + random_row(1, 0, 7)[0]);
            }
            breaks.insert(breaks.end(), sorted.begin(), sorted.end());
            channel_breaks.push_back(sorted);
            channel_values.push_back(Row(values.begin() + c * (N_BREAKS + 1), values.begin() + (c + 1) * (N_BREAKS + 1)));
        }
        Row data, want;
        for (std::size_t i = 0; i < 96; i++) {
            data.push_back(static_cast<long long>(i / 3) - 16);
            want.push_back(piece(data[i], channel_breaks[i % N_CHAN], channel_values[i % N_CHAN]));
        }
        const std::vector<Int<6>> b = typed<Int<6>>(breaks), v = typed<Int<6>>(values);
        RUN_BOTH(hwq_pieces, Int<5>, IN, Int<6>, OUT, config, data, want, , b.data(), v.data());
    }
}

int main() {
    tables<1, 4, 4>();
    tables<3, 3, 3>();
    tables<3, 3, 12>();
    tables<6, 3, 12>();
    pieces<1, 5, 4, 4>();
    pieces<3, 1, 3, 3>();
    pieces<3, 5, 3, 12>();
    pieces<6, 5, 3, 12>();
    return finish();
}
