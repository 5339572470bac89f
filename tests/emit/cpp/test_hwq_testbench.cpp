#include "hwq_testbench.h"
#include "check.h"
#include <algorithm>
#include <utility>

using namespace check;

// What a function prints while the object lives.
class Said {
  public:
    explicit Said(std::ostream &stream) : stream_(stream), kept_(stream.rdbuf(text_.rdbuf())) {}
    ~Said() { stream_.rdbuf(kept_); }
    std::string text() const { return text_.str(); }

  private:
    std::ostringstream text_;
    std::ostream &stream_;
    std::streambuf *kept_;
};

static bool parsed(std::vector<const char *> args, hwq::Options &options) {
    args.insert(args.begin(), "csim");
    Said said(std::cerr);
    const bool ok = hwq::parse(static_cast<int>(args.size()), const_cast<char **>(args.data()), options);
    CHECK_EQUAL(said.text().empty(), ok, "the usage is shown for what cannot be read");
    return ok;
}

static void options() {
    hwq::Options none, all, trace, bad;
    CHECK_EQUAL(parsed({}, none), true, "no option");
    CHECK_EQUAL(none.data, "tb_data", "folder");
    CHECK_EQUAL(none.golden && none.shipped && none.trace.empty(), true, "no option");
    CHECK_EQUAL(parsed({"--data", "d", "--trace", "t", "--no-golden"}, all), true, "all options");
    CHECK_EQUAL(all.data + all.trace, "dt", "all options");
    CHECK_EQUAL(all.golden || all.shipped, false, "all options");
    CHECK_EQUAL(parsed({"--trace", "t"}, trace) && trace.shipped, true, "a trace of the shipped data");
    CHECK_EQUAL(parsed({"--data"}, bad), false, "a folder is missing");
    CHECK_EQUAL(parsed({"--golden"}, bad), false, "an unknown option");
}

// The rows of a file, or what is said of it.
static hwq::Rows rows_of(const std::string &content, std::size_t words, const std::string &complaint = "") {
    std::ofstream("rows.dat") << content;
    hwq::Rows rows;
    Said said(std::cerr);
    const bool ok = hwq::read_rows("rows.dat", words, rows);
    CHECK_EQUAL(ok, complaint.empty(), "file of " << content);
    CHECK_EQUAL(said.text().find(complaint) != std::string::npos, true, said.text() << " about " << content);
    return rows;
}

static void files() {
    const hwq::Rows rows = rows_of("1 -2\n9223372036854775807 -9223372036854775808\r\n 3\t4 \n", 2);
    CHECK_EQUAL(rows.size(), 3U, "rows");
    CHECK_EQUAL(rows[0], (Row{1, -2}), "row 0");
    CHECK_EQUAL(rows[1], (Row{9223372036854775807LL, -9223372036854775807LL - 1}), "row 1");
    CHECK_EQUAL(rows[2], (Row{3, 4}), "row 2");
    rows_of("", 2, "holds no row");
    rows_of("1 2\n3\n", 2, "row 1: 1 integers, want 2");
    rows_of("1 2 3\n", 2, "row 0: 3 integers, want 2");
    rows_of("1 2\n\n", 2, "row 1: 0 integers");
    rows_of("1 x\n", 1, "row 0");
    rows_of("1 2.5\n", 2, "row 0");
    hwq::Rows missing;
    Said said(std::cerr);
    CHECK_EQUAL(hwq::read_rows("missing.dat", 1, missing), false, "a missing file");
    CHECK_EQUAL(said.text(), "ERROR: cannot read missing.dat\n", "a missing file");
}

static void lengths() {
    const hwq::Rows two(2), three(3);
    hwq::Options shipped, own;
    own.shipped = false;
    Said said(std::cerr);
    CHECK_EQUAL(hwq::same_rows({&two, &two}, 2, shipped), true, "as generated");
    CHECK_EQUAL(hwq::same_rows({&two, &two}, 3, shipped), false, "rows were cut from all files");
    CHECK_EQUAL(hwq::same_rows({&two, &two}, 3, own), true, "the user's data may have any number of rows");
    CHECK_EQUAL(hwq::same_rows({&two, &three}, 3, own), false, "files differ");
    CHECK_EQUAL(said.text().find("file 1 of the inputs and outputs has 3 rows, want 2") != std::string::npos, true,
                said.text());
}

static void ports() {
    Int<4> array[4];
    CHECK_EQUAL(hwq::feed({-8, 7, 0, 1}, array), true, "array");
    CHECK_EQUAL(hwq::drain(array), (Row{-8, 7, 0, 1}), "array");
    CHECK_EQUAL(hwq::is_spent(array), true, "an array is always spent");

    hls::stream<Pixel<UInt<4>, 2>> stream;
    CHECK_EQUAL(hwq::feed({0, 15, 3, 4}, stream), true, "stream");
    CHECK_EQUAL(hwq::is_spent(stream), false, "a stream with two pixels");
    CHECK_EQUAL(stream.size(), 2U, "a stream with two pixels");
    CHECK_EQUAL(hwq::drain(stream), (Row{0, 15, 3, 4}), "stream");
    CHECK_EQUAL(hwq::is_spent(stream), true, "a stream that was read");

    Said said(std::cerr);
    CHECK_EQUAL(hwq::feed({0, 0, 0, 8}, array), false, "above the port's range");
    CHECK_EQUAL(hwq::feed({-9, 0, 0, 0}, array), false, "below the port's range");
    CHECK_EQUAL(hwq::feed({0, -1}, stream), false, "negative, into an unsigned port");
    CHECK_EQUAL(said.text().find("the input -9 does not fit its port") != std::string::npos, true, said.text());
}

static void comparisons() {
    Said said(std::cout);
    hwq::Comparison equal, words, shorter, longer, unread, layer;
    equal.compare(0, "output 0", {1, 2}, {1, 2});
    CHECK_EQUAL(equal.finish(1), int(hwq::EQUAL), "equal rows");
    words.compare(3, "output 1", {1, 5}, {1, 2});
    CHECK_EQUAL(words.finish(4), int(hwq::DIFFERENT), "a word differs");
    shorter.compare(0, "output 0", {1}, {1, 2});
    CHECK_EQUAL(shorter.finish(1), int(hwq::DIFFERENT), "a word is missing");
    longer.compare(0, "output 0", {1, 2, 3}, {1, 2});
    CHECK_EQUAL(longer.finish(1), int(hwq::DIFFERENT), "a word too many");
    unread.unread(0, "input 0");
    CHECK_EQUAL(unread.finish(1), int(hwq::DIFFERENT), "an input was not read to its end");
    layer.layer(0, "fc1");
    CHECK_EQUAL(layer.finish(1), int(hwq::DIFFERENT), "a layer differs");
    const std::string text = said.text();
    for (const char *line :
         {"PASSED: 1 rows, 2 words compared\n", "row 3, output 1: word 1 is 5, want 2\n",
          "FAILED: 1 differences in 4 rows\n", "row 0, output 0: 1 words, want 2\n", "row 0, output 0: 3 words, want 2\n",
          "row 0, input 0: not read to its end\n", "row 0, layer fc1: differs\n"}) {
        CHECK_EQUAL(text.find(line) != std::string::npos, true, line << " in " << text);
    }
}

static void many_differences() {
    Said said(std::cout);
    hwq::Comparison comparison;
    comparison.compare(0, "output 0", Row(50, 1), Row(50, 2));
    const std::string text = said.text();
    CHECK_EQUAL(std::count(text.begin(), text.end(), '\n'), long(hwq::MAX_MESSAGES), "messages");
    CHECK_EQUAL(comparison.finish(1), int(hwq::DIFFERENT), "status");
    CHECK_EQUAL(said.text().find("FAILED: 50 differences in 1 rows") != std::string::npos, true, said.text());
}

// FNV-1a over 64-bit words, written from its definition.
static long long fnv(const Row &row) {
    unsigned long long hash = 0xcbf29ce484222325ULL;
    for (long long word : row) {
        hash ^= static_cast<unsigned long long>(word);
        hash *= 0x100000001b3ULL;
    }
    return static_cast<long long>(hash);
}

static void leave(hwq::Trace &trace, const char *layer, const Row &row) {
    double *words = static_cast<double *>((*trace.outputs())[layer]);
    for (std::size_t i = 0; i < row.size(); i++) {
        words[i] = static_cast<double>(row[i]);
    }
}

static int traced(hwq::Trace &trace, const Row &want) {
    Said said(std::cout);
    hwq::Comparison comparison;
    trace.compare(0, want, comparison);
    return comparison.finish(1);
}

static void traces() {
    const Row a = {1, -2, 3}, b = {(1LL << 52) + 1, -(1LL << 52)};
    hwq::Trace trace;
    trace.add("zz", 3); // the order is the caller's, not the map's
    trace.add("aa", 2);
    trace.clear();
    CHECK_EQUAL(traced(trace, {0, 0}), int(hwq::EQUAL), "RTL leaves nothing to compare");
    leave(trace, "zz", a);
    CHECK_EQUAL(traced(trace, {fnv(a), 0}), int(hwq::EQUAL), "one layer, the other was not left");
    leave(trace, "aa", b);
    CHECK_EQUAL(traced(trace, {fnv(a), fnv(b)}), int(hwq::EQUAL), "two layers");
    CHECK_EQUAL(traced(trace, {fnv(a), fnv(a)}), int(hwq::DIFFERENT), "the second differs");
    CHECK_EQUAL(traced(trace, {fnv({-2, 1, 3}), fnv(b)}), int(hwq::DIFFERENT), "the first has another order");

    CHECK_EQUAL(trace.open("trace.bin"), true, "a file to write");
    trace.write();
    std::ifstream file;
    { hwq::Trace closes(std::move(trace)); }
    file.open("trace.bin", std::ios::binary);
    Row dumped(6);
    file.read(reinterpret_cast<char *>(dumped.data()), 48);
    CHECK_EQUAL(file.gcount(), 40, "bytes of the trace");
    dumped.pop_back();
    CHECK_EQUAL(dumped, (Row{1, -2, 3, (1LL << 52) + 1, -(1LL << 52)}), "the trace");

    Said said(std::cerr);
    hwq::Trace nowhere;
    CHECK_EQUAL(nowhere.open("missing/trace.bin"), false, "a folder that is not there");
    CHECK_EQUAL(said.text(), "ERROR: cannot write missing/trace.bin\n", "a folder that is not there");
}

int main() {
    options();
    files();
    lengths();
    ports();
    comparisons();
    many_differences();
    traces();
    return finish();
}
