#include "hwq_axis.h"
#include "check.h"

using namespace check;

// Words as NumPy lays codes out: little-endian, each image from a new word on.
template <unsigned BITS> std::vector<unsigned long long> packed(const Row &codes, unsigned size) {
    std::vector<unsigned long long> words;
    const unsigned lanes = 64 / BITS;
    for (std::size_t first = 0; first < codes.size(); first += size) {
        for (unsigned i = 0; i < size; i++) {
            if (i % lanes == 0) {
                words.push_back(0);
            }
            const unsigned long long mask = BITS == 64 ? ~0ULL : (1ULL << (BITS % 64)) - 1;
            words.back() |= (static_cast<unsigned long long>(codes[first + i]) & mask) << (i % lanes * BITS);
        }
    }
    return words;
}

inline void fill(hwq::AxisStream &port, const std::vector<unsigned long long> &words) {
    for (unsigned long long word : words) {
        hwq::AxisWord in;
        in.data = word;
        in.keep = -1;
        in.strb = -1;
        in.last = 0; // the images are counted, TLAST of the inputs is not read
        port.write(in);
    }
}

// Words and TLAST: only on the last word of the last image, and every byte is valid.
inline void expect(hwq::AxisStream &port, const std::vector<unsigned long long> &want) {
    Row got, last;
    while (!port.empty()) {
        const hwq::AxisWord word = port.read();
        got.push_back(static_cast<long long>(word.data.to_uint64()));
        last.push_back(word.last.to_int());
        CHECK_EQUAL(word.keep.to_uint64() == 255 && word.strb.to_uint64() == 255, true, "bytes are valid");
    }
    CHECK_EQUAL(got, Row(want.begin(), want.end()), "words");
    Row want_last(want.size(), 0);
    want_last.back() = 1;
    CHECK_EQUAL(last, want_last, "TLAST");
}

template <unsigned BITS, unsigned SIZE, unsigned PIXEL, class T> void both_ways(long long lo, long long hi) {
    static const unsigned images = 3;
    const Row codes = random_row(SIZE * images, lo, hi);
    const std::vector<unsigned long long> words = packed<BITS>(codes, SIZE);
    hwq::AxisStream in, out;
    fill(in, words);
    Row read;
    for (unsigned image = 0; image < images; image++) {
        hls::stream<Pixel<T, PIXEL>> pixels;
        hwq::read_image<BITS, SIZE>(in, pixels);
        const Row row = read_all(pixels);
        read.insert(read.end(), row.begin(), row.end());
        write(pixels, row);
        hwq::write_image<BITS, SIZE>(pixels, out, image, images);
    }
    CHECK_EQUAL(read, codes, "codes through a stream");
    CHECK_EQUAL(in.empty(), true, "the words are read to their end");
    expect(out, words);

    fill(in, words);
    Row again;
    for (unsigned image = 0; image < images; image++) {
        T array[SIZE];
        hwq::read_image<BITS, SIZE>(in, array);
        for (const T &code : array) {
            again.push_back(code.to_int64());
        }
        hwq::write_image<BITS, SIZE>(array, out, image, images);
    }
    CHECK_EQUAL(again, codes, "codes through an array");
    expect(out, words);
}

int main() {
    both_ways<8, 8, 8, Int<8>>(-128, 127);
    both_ways<8, 12, 3, Int<5>>(-16, 15); // pixels of 3 codes share words
    both_ways<8, 12, 12, UInt<8>>(0, 255);
    both_ways<8, 20, 4, UInt<1>>(0, 1);
    both_ways<16, 10, 2, Int<13>>(-4096, 4095);
    both_ways<16, 6, 6, UInt<16>>(0, 65535);
    both_ways<32, 5, 5, Int<20>>(-524288, 524287);
    both_ways<32, 6, 2, UInt<31>>(0, 2147483647);
    both_ways<64, 4, 2, Int<40>>(-549755813888, 549755813887);
    return finish();
}
