#include "hwq_threshold.h"
#include "check.h"

using namespace check;

template <unsigned N_IN, unsigned N_CHAN, unsigned N_STEPS, int BASE, int STEP>
struct Config : nnet::hwq_threshold_config {
    static const unsigned n_in = N_IN;
    static const unsigned n_chan = N_CHAN;
    static const unsigned n_steps = N_STEPS;
    static const long long base = BASE;
    static const long long step = STEP;
    typedef ap_uint<2> count_t;
    typedef Int<6> thresholds_t;
};

static Row expected(const Row &data, const Row &thresholds, std::size_t n_chan, long long base, long long step) {
    const std::size_t n_steps = thresholds.size() / n_chan;
    Row res;
    for (std::size_t i = 0; i < data.size(); i++) {
        long long passed = 0;
        for (std::size_t k = 0; k < n_steps; k++) {
            passed += data[i] >= thresholds[(i % n_chan) * n_steps + k];
        }
        res.push_back(base + step * passed);
    }
    return res;
}

template <class CONFIG_T> Row in_array(const Row &data, const Row &thresholds) {
    const std::vector<Int<5>> in = typed<Int<5>>(data);
    const std::vector<Int<6>> t = typed<Int<6>>(thresholds);
    std::vector<Int<4>> out(in.size());
    nnet::hwq_threshold<Int<5>, Int<4>, CONFIG_T>(in.data(), out.data(), t.data());
    return untyped(out);
}

template <class CONFIG_T, unsigned IN, unsigned OUT> Row in_stream(const Row &data, const Row &thresholds) {
    const std::vector<Int<6>> t = typed<Int<6>>(thresholds);
    hls::stream<Pixel<Int<5>, IN>> in;
    hls::stream<Pixel<Int<4>, OUT>> out;
    write(in, data);
    nnet::hwq_threshold<Pixel<Int<5>, IN>, Pixel<Int<4>, OUT>, CONFIG_T>(in, out, t.data());
    CHECK_EQUAL(in.empty(), true, "input stream");
    return read_all(out);
}

// Every input against every pair of thresholds, those that no input reaches included.
template <int BASE, int STEP> void every_pair() {
    typedef Config<32, 1, 2, BASE, STEP> config;
    const Row data = range(-16, 15);
    for (long long low = -16; low <= 16; low++) {
        for (long long high = low; high <= 16; high++) {
            const Row want = expected(data, {low, high}, 1, BASE, STEP);
            CHECK_EQUAL((in_array<config>(data, {low, high})), want, "thresholds " << low << " " << high);
            CHECK_EQUAL((in_stream<config, 4, 4>(data, {low, high})), want, "stream " << low << " " << high);
        }
    }
}

template <class CONFIG_T, unsigned IN, unsigned OUT> void random_tables(long long base, long long step) {
    for (int round = 0; round < 200; round++) {
        const Row data = random_row(CONFIG_T::n_in, -16, 15);
        const Row thresholds = random_row(CONFIG_T::n_chan * CONFIG_T::n_steps, -16, 16);
        const Row want = expected(data, thresholds, CONFIG_T::n_chan, base, step);
        CHECK_EQUAL((in_array<CONFIG_T>(data, thresholds)), want, data << " at " << thresholds);
        CHECK_EQUAL((in_stream<CONFIG_T, IN, OUT>(data, thresholds)), want, "stream " << data << " at " << thresholds);
    }
}

int main() {
    every_pair<0, 1>();
    every_pair<-1, 2>();
    every_pair<3, -2>();
    random_tables<Config<12, 3, 1, 0, 1>, 3, 3>(0, 1);
    random_tables<Config<12, 3, 3, -2, 1>, 3, 3>(-2, 1);
    random_tables<Config<12, 3, 3, 1, -1>, 3, 6>(1, -1);
    random_tables<Config<12, 6, 2, 0, 1>, 3, 6>(0, 1);
    random_tables<Config<12, 1, 3, 0, 1>, 2, 12>(0, 1);
    return finish();
}
