// What the generated testbench needs: integer text files, ports of both kinds, exact comparison, traces.
//
// Exit status: 0 every word of every row is equal, 1 a word or a stream's length differs, 2 a file or an
// option cannot be used.
#ifndef HWQ_TESTBENCH_H_
#define HWQ_TESTBENCH_H_

#include "hls_stream.h"
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace hwq {

typedef std::vector<long long> Row;
typedef std::vector<Row> Rows;

enum { EQUAL = 0, DIFFERENT = 1, UNUSABLE = 2 };
static const unsigned MAX_MESSAGES = 10;

struct Options {
    std::string data = "tb_data";
    std::string trace;  // file to write, if any
    bool golden = true; // whether to compare
    bool shipped = true; // whether the data are the project's own
};

inline bool parse(int argc, char **argv, Options &options) {
    for (int i = 1; i < argc; i++) {
        const std::string arg = argv[i];
        if (arg == "--no-golden") {
            options.golden = false;
        } else if ((arg == "--data" || arg == "--trace") && i + 1 < argc) {
            (arg == "--data" ? options.data : options.trace) = argv[++i];
            options.shipped = options.shipped && arg != "--data";
        } else {
            std::cerr << "usage: " << argv[0] << " [--data DIR] [--trace FILE] [--no-golden]\n";
            return false;
        }
    }
    return true;
}

// One line a row, `words` integers a line.
inline bool read_rows(const std::string &path, std::size_t words, Rows &rows) {
    std::ifstream file(path.c_str());
    if (!file) {
        std::cerr << "ERROR: cannot read " << path << "\n";
        return false;
    }
    std::string line;
    while (std::getline(file, line)) {
        Row row;
        row.reserve(words);
        const char *at = line.c_str();
        for (char *end = nullptr;; at = end) {
            const long long value = std::strtoll(at, &end, 10);
            if (end == at) {
                break;
            }
            row.push_back(value);
        }
        if (row.size() != words || std::string(at).find_first_not_of(" \t\r") != std::string::npos) {
            std::cerr << "ERROR: " << path << " row " << rows.size() << ": " << row.size() << " integers, want "
                      << words << "\n";
            return false;
        }
        rows.push_back(row);
    }
    if (rows.empty()) {
        std::cerr << "ERROR: " << path << " holds no row\n";
    }
    return !rows.empty();
}

// Every file has as many rows as the first; the project's own data has as many as were generated.
inline bool same_rows(const std::vector<const Rows *> &files, std::size_t generated, const Options &options) {
    const std::size_t rows = options.shipped ? generated : files[0]->size();
    for (std::size_t i = 0; i < files.size(); i++) {
        if (files[i]->size() != rows) {
            std::cerr << "ERROR: file " << i << " of the inputs and outputs has " << files[i]->size() << " rows, want "
                      << rows << "\n";
            return false;
        }
    }
    return true;
}

template <class T> bool put(long long value, T &word) {
    word = T(value);
    if (word.to_int64() == value) {
        return true;
    }
    std::cerr << "ERROR: the input " << value << " does not fit its port\n";
    return false;
}

template <class T, std::size_t N> bool feed(const Row &row, T (&port)[N]) {
    for (std::size_t i = 0; i < N; i++) {
        if (!put(row[i], port[i])) {
            return false;
        }
    }
    return true;
}

template <class T> bool feed(const Row &row, hls::stream<T> &port) {
    for (std::size_t i = 0; i < row.size(); i += T::size) {
        T pixel;
        for (std::size_t j = 0; j < T::size; j++) {
            if (!put(row[i + j], pixel[j])) {
                return false;
            }
        }
        port.write(pixel);
    }
    return true;
}

template <class T, std::size_t N> Row drain(T (&port)[N]) {
    Row row;
    for (std::size_t i = 0; i < N; i++) {
        row.push_back(port[i].to_int64());
    }
    return row;
}

// All that the stream holds: compare() sees one that is too short or too long.
template <class T> Row drain(hls::stream<T> &port) {
    Row row;
    while (!port.empty()) {
        const T pixel = port.read();
        for (std::size_t j = 0; j < T::size; j++) {
            row.push_back(pixel[j].to_int64());
        }
    }
    return row;
}

// An array port has no end of data; a stream that was not read to its end is an error.
template <class T, std::size_t N> bool is_spent(T (&)[N]) { return true; }
template <class T> bool is_spent(hls::stream<T> &port) { return port.empty(); }

class Comparison {
  public:
    void compare(std::size_t row, const char *output, const Row &got, const Row &want) {
        words_ += want.size();
        if (got.size() != want.size()) {
            report(row, output) << got.size() << " words, want " << want.size() << "\n";
        }
        for (std::size_t i = 0; i < got.size() && i < want.size(); i++) {
            if (got[i] != want[i]) {
                report(row, output) << "word " << i << " is " << got[i] << ", want " << want[i] << "\n";
            }
        }
    }

    void layer(std::size_t row, const std::string &name) { report(row, "layer " + name) << "differs\n"; }

    void unread(std::size_t row, const char *input) { report(row, input) << "not read to its end\n"; }

    int finish(std::size_t rows) const {
        if (differences_ > 0) {
            std::cout << "FAILED: " << differences_ << " differences in " << rows << " rows\n";
            return DIFFERENT;
        }
        std::cout << "PASSED: " << rows << " rows, " << words_ << " words compared\n";
        return EQUAL;
    }

  private:
    std::ostream &report(std::size_t row, const std::string &place) {
        static std::ofstream nowhere;
        std::ostream &out = differences_++ < MAX_MESSAGES ? std::cout : nowhere;
        return out << "row " << row << ", " << place << ": ";
    }

    std::size_t words_ = 0;
    std::size_t differences_ = 0;
};

// Every layer's output, as hls4ml's trace leaves it: doubles that hold integers. RTL leaves nothing: then
// the values stay what clear() put there, and the layer is not compared.
class Trace {
  public:
    void add(const char *layer, std::size_t words) {
        names_.push_back(layer);
        buffers_[layer].resize(words);
        outputs_[layer] = buffers_[layer].data();
    }

    std::map<std::string, void *> *outputs() { return &outputs_; }

    bool open(const std::string &path) {
        file_.open(path.c_str(), std::ios::binary);
        if (!file_) {
            std::cerr << "ERROR: cannot write " << path << "\n";
        }
        return bool(file_);
    }

    void clear() {
        for (auto &buffer : buffers_) {
            buffer.second.assign(buffer.second.size(), std::numeric_limits<double>::quiet_NaN());
        }
    }

    // int64 words in the machine's byte order, layer after layer.
    void write() {
        for (const std::string &name : names_) {
            std::vector<long long> words;
            for (double value : buffers_[name]) {
                words.push_back(static_cast<long long>(value));
            }
            file_.write(reinterpret_cast<const char *>(words.data()),
                        static_cast<std::streamsize>(words.size() * sizeof(long long)));
        }
    }

    // One hash a layer (FNV-1a over 64-bit words), against the integer graph's.
    void compare(std::size_t row, const Row &want, Comparison &comparison) {
        for (std::size_t i = 0; i < names_.size(); i++) {
            const std::vector<double> &words = buffers_[names_[i]];
            if (!std::isnan(words[0]) && hash(words) != want[i]) {
                comparison.layer(row, names_[i]);
            }
        }
    }

  private:
    static long long hash(const std::vector<double> &words) {
        unsigned long long h = 14695981039346656037ULL;
        for (double word : words) {
            h = (h ^ static_cast<unsigned long long>(static_cast<long long>(word))) * 1099511628211ULL;
        }
        return static_cast<long long>(h);
    }

    std::vector<std::string> names_;
    std::map<std::string, std::vector<double>> buffers_;
    std::map<std::string, void *> outputs_;
    std::ofstream file_;
};

} // namespace hwq

#endif
