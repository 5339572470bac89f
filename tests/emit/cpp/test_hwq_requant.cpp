#include "hwq_requant.h"
#include "check.h"

using namespace check;

template <unsigned N_IN, unsigned N_CHAN, unsigned SHIFT, bool HALF_EVEN, int LO, int HI>
struct Config : nnet::hwq_requant_config {
    static const unsigned n_in = N_IN;
    static const unsigned n_chan = N_CHAN;
    static const unsigned shift = SHIFT;
    static const bool half_even = HALF_EVEN;
    static const long long lo = LO;
    static const long long hi = HI;
    typedef Int<5> mult_t;
    typedef Int<7> add_t;
    typedef Int<4> low_mult_t;
    typedef Int<6> low_add_t;
    typedef Int<8> pivot_t;
    typedef ap_int<12> wide_t;
};

// mult, add and, with two slopes, low_mult, low_add, pivot.
typedef std::vector<Row> Table;

static long long rounded(long long value, long long divisor, bool half_even) {
    long long quotient = value / divisor;
    if (quotient * divisor > value) {
        quotient--;
    }
    const long long twice = 2 * (value - quotient * divisor);
    const bool up = twice > divisor || (twice == divisor && quotient % 2 != 0);
    return quotient + (half_even && up ? 1 : 0);
}

template <class CONFIG_T> Row expected(const Row &data, const Table &table) {
    Row res;
    for (std::size_t i = 0; i < data.size(); i++) {
        const std::size_t c = i % table[0].size();
        const bool low = table.size() > 2 && data[i] < table[4][c];
        const long long scaled = data[i] * table[low ? 2 : 0][c] + table[low ? 3 : 1][c];
        const long long quotient = rounded(scaled, 1LL << CONFIG_T::shift, CONFIG_T::half_even);
        const long long lo = CONFIG_T::lo, hi = CONFIG_T::hi;
        res.push_back(quotient < lo ? lo : quotient > hi ? hi : quotient);
    }
    return res;
}

// Calls with one slope or with two, as the table has them.
template <class data_T, class res_T, class CONFIG_T, class IN, class OUT>
void call(IN &&in, OUT &&out, const Table &table) {
    const auto mult = typed<typename CONFIG_T::mult_t>(table[0]);
    const auto add = typed<typename CONFIG_T::add_t>(table[1]);
    if (table.size() == 2) {
        nnet::hwq_requant<data_T, res_T, CONFIG_T>(in, out, mult.data(), add.data());
        return;
    }
    const auto low_mult = typed<typename CONFIG_T::low_mult_t>(table[2]);
    const auto low_add = typed<typename CONFIG_T::low_add_t>(table[3]);
    const auto pivot = typed<typename CONFIG_T::pivot_t>(table[4]);
    nnet::hwq_requant<data_T, res_T, CONFIG_T>(in, out, mult.data(), add.data(), low_mult.data(), low_add.data(),
                                               pivot.data());
}

template <class CONFIG_T, unsigned IN, unsigned OUT> void compare(const Row &data, const Table &table) {
    const Row want = expected<CONFIG_T>(data, table);
    const std::vector<Int<6>> words = typed<Int<6>>(data);
    std::vector<Int<5>> res(words.size());
    call<Int<6>, Int<5>, CONFIG_T>(words.data(), res.data(), table);
    CHECK_EQUAL(untyped(res), want, "mult " << table[0] << " add " << table[1] << " of " << data);

    hls::stream<Pixel<Int<6>, IN>> in;
    hls::stream<Pixel<Int<5>, OUT>> out;
    write(in, data);
    call<Pixel<Int<6>, IN>, Pixel<Int<5>, OUT>, CONFIG_T>(in, out, table);
    CHECK_EQUAL(in.empty(), true, "input stream");
    CHECK_EQUAL(read_all(out), want, "stream, mult " << table[0] << " add " << table[1] << " of " << data);
}

// Every input with every small multiplier and summand: all ties and both ends of the saturation.
template <unsigned SHIFT, bool HALF_EVEN, int LO, int HI> void every_factor() {
    typedef Config<64, 1, SHIFT, HALF_EVEN, LO, HI> config;
    for (long long mult = -4; mult <= 5; mult++) {
        for (long long add = -9; add <= 9; add++) {
            compare<config, 4, 4>(range(-32, 31), {{mult}, {add}});
        }
    }
}

template <unsigned SHIFT, bool HALF_EVEN> void every_pivot() {
    typedef Config<64, 1, SHIFT, HALF_EVEN, -7, 8> config;
    for (long long pivot = -34; pivot <= 34; pivot++) {
        compare<config, 8, 8>(range(-32, 31), {{3}, {-5}, {1}, {6}, {pivot}});
        compare<config, 8, 8>(range(-32, 31), {{-2}, {4}, {5}, {0}, {pivot}});
    }
}

template <class CONFIG_T, unsigned IN, unsigned OUT> void random_tables() {
    const std::size_t n = CONFIG_T::n_chan;
    for (int round = 0; round < 100; round++) {
        const Row data = random_row(CONFIG_T::n_in, -32, 31);
        const Row mult = random_row(n, -16, 15), add = random_row(n, -64, 63);
        compare<CONFIG_T, IN, OUT>(data, {mult, add});
        compare<CONFIG_T, IN, OUT>(
            data, {mult, add, random_row(n, -8, 7), random_row(n, -32, 31), random_row(n, -40, 40)});
    }
}

// A shift of 30 bits, where 32-bit arithmetic would have wrapped.
struct Far : Config<64, 1, 30, true, -16, 15> {
    typedef Int<40> mult_t;
    typedef Int<40> add_t;
    typedef ap_int<50> wide_t;
};

static void far_shift() {
    for (long long mult : {1LL << 29, 1LL << 30, (1LL << 29) + 1, (1LL << 31) - 7}) {
        compare<Far, 4, 4>(range(-32, 31), {{mult}, {1LL << 28}});
    }
}

int main() {
    every_factor<0, false, -16, 15>();
    every_factor<0, true, -4, 3>();
    every_factor<1, true, -7, 7>();
    every_factor<1, false, 0, 15>();
    every_factor<3, true, -4, 3>();
    every_factor<3, false, -8, 7>();
    every_factor<5, true, 0, 1>();
    every_pivot<0, true>();
    every_pivot<2, true>();
    every_pivot<2, false>();
    random_tables<Config<12, 3, 4, true, -7, 7>, 3, 3>();
    random_tables<Config<12, 3, 4, false, -16, 15>, 3, 6>();
    random_tables<Config<12, 6, 3, true, -16, 15>, 3, 6>();
    random_tables<Config<12, 1, 2, true, 0, 7>, 2, 12>();
    far_shift();
    return finish();
}
