// What the unit tests of the headers share: comparison, rows of integers, pixels, streams.
//
// A test calls CHECK_EQUAL(got, want, where) and returns check::finish() from main(): 0 if all were equal and there
// was something to compare. `where` is what goes into a stream: "x " << x.
#ifndef HWQ_TESTS_CHECK_H_
#define HWQ_TESTS_CHECK_H_

#include "ap_fixed.h"
#include "ap_int.h"
#include "hls_stream.h"
#include <cstddef>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace check {

typedef std::vector<long long> Row;

struct Counts {
    unsigned compared = 0;
    unsigned failed = 0;
};

inline Counts &counts() {
    static Counts made;
    return made;
}

inline std::ostream &operator<<(std::ostream &out, const Row &row) {
    out << "[";
    for (std::size_t i = 0; i < row.size(); i++) {
        out << (i > 0 ? " " : "") << row[i];
    }
    return out << "]";
}

template <class got_T, class want_T>
void fail(const char *file, int line, const got_T &got, const want_T &want, const std::string &where) {
    if (counts().failed++ < 10) {
        std::cerr << file << ":" << line << ": " << where << ": got " << got << ", want " << want << "\n";
    }
}

inline int finish() {
    std::cerr << counts().compared << " compared, " << counts().failed << " differ\n";
    return counts().compared == 0 || counts().failed > 0;
}

#define CHECK_EQUAL(got, want, where)                                                                                  \
    do {                                                                                                               \
        using check::operator<<;                                                                                       \
        const auto got_value = (got);                                                                                  \
        const auto want_value = (want);                                                                                \
        check::counts().compared++;                                                                                    \
        if (!(got_value == want_value)) {                                                                              \
            std::ostringstream where_text;                                                                             \
            where_text << where;                                                                                       \
            check::fail(__FILE__, __LINE__, got_value, want_value, where_text.str());                                  \
        }                                                                                                              \
    } while (false)

// A signed or an unsigned integer as hwq declares it for hls4ml.
template <int W> using Int = ap_fixed<W, W>;
template <int W> using UInt = ap_ufixed<W, W>;

// As nnet::array of hls4ml.
template <class T, unsigned N> struct Pixel {
    typedef T value_type;
    static const unsigned size = N;
    T data[N];
    T &operator[](std::size_t i) { return data[i]; }
    const T &operator[](std::size_t i) const { return data[i]; }
};

template <class T> std::vector<T> typed(const Row &row) {
    std::vector<T> words;
    for (long long value : row) {
        words.push_back(T(value));
        if (words.back().to_int64() != value) {
            fail(__FILE__, __LINE__, words.back().to_int64(), value, "a value of the test does not fit its type");
        }
    }
    return words;
}

template <class T> Row untyped(const std::vector<T> &words) {
    Row row;
    for (const T &word : words) {
        row.push_back(word.to_int64());
    }
    return row;
}

template <class pixel_T> void write(hls::stream<pixel_T> &stream, const Row &row) {
    const std::vector<typename pixel_T::value_type> words = typed<typename pixel_T::value_type>(row);
    for (std::size_t i = 0; i < words.size(); i += pixel_T::size) {
        pixel_T pixel;
        for (unsigned j = 0; j < pixel_T::size; j++) {
            pixel[j] = words[i + j];
        }
        stream.write(pixel);
    }
}

template <class pixel_T> Row read_all(hls::stream<pixel_T> &stream) {
    Row row;
    while (!stream.empty()) {
        const pixel_T pixel = stream.read();
        for (unsigned j = 0; j < pixel_T::size; j++) {
            row.push_back(pixel[j].to_int64());
        }
    }
    return row;
}

// The same numbers in every run.
inline Row random_row(std::size_t n, long long lo, long long hi) {
    static unsigned long long state = 1;
    Row row;
    for (std::size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        row.push_back(lo + static_cast<long long>((state >> 33) % static_cast<unsigned long long>(hi - lo + 1)));
    }
    return row;
}

inline Row range(long long lo, long long hi) {
    Row row;
    for (long long value = lo; value <= hi; value++) {
        row.push_back(value);
    }
    return row;
}

} // namespace check

#endif
