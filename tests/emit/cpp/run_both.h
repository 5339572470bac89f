// Calls a layer through its array and its stream overload and compares both with the expected row.
#ifndef HWQ_TESTS_RUN_BOTH_H_
#define HWQ_TESTS_RUN_BOTH_H_

#include "check.h"

// LAYER must name a function template of nnet with both overloads; what follows are weights or tables.
#define RUN_BOTH(LAYER, data_T, n_in, res_T, n_out, CONFIG_T, row, want, ...)                                          \
    do {                                                                                                               \
        const std::vector<data_T> words = check::typed<data_T>(row);                                                   \
        std::vector<res_T> result((want).size());                                                                      \
        nnet::LAYER<data_T, res_T, CONFIG_T>(words.data(), result.data() __VA_ARGS__);                                 \
        CHECK_EQUAL(check::untyped(result), want, "array of " << (row));                                               \
        hls::stream<check::Pixel<data_T, n_in>> source;                                                                \
        hls::stream<check::Pixel<res_T, n_out>> sink;                                                                  \
        check::write(source, row);                                                                                     \
        nnet::LAYER<check::Pixel<data_T, n_in>, check::Pixel<res_T, n_out>, CONFIG_T>(source, sink __VA_ARGS__);       \
        CHECK_EQUAL(source.empty(), true, "the input stream is read to its end");                                      \
        CHECK_EQUAL(check::read_all(sink), want, "stream of " << (row));                                               \
    } while (false)

#endif
