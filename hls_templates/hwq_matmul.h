// Product of two tensors of matrices: y = a @ b, (batch, rows, terms) and (batch, terms, columns).
//
// Partial sums may wrap: the final value fits the result. A stream of b is kept, a matrix at a time.
#ifndef HWQ_MATMUL_H_
#define HWQ_MATMUL_H_

#include "hls_stream.h"

namespace nnet {

struct hwq_matmul_config {
    static const unsigned batch = 1, rows = 1, terms = 1, columns = 1;
};

// Whole tensors in parallel.
template <class a_T, class b_T, class res_T, typename CONFIG_T>
void hwq_matmul(const a_T a[CONFIG_T::batch * CONFIG_T::rows * CONFIG_T::terms],
                const b_T b[CONFIG_T::batch * CONFIG_T::terms * CONFIG_T::columns],
                res_T res[CONFIG_T::batch * CONFIG_T::rows * CONFIG_T::columns]) {
    #pragma HLS PIPELINE II=1
BatchLoop:
    for (unsigned n = 0; n < CONFIG_T::batch; n++) {
    RowLoop:
        for (unsigned i = 0; i < CONFIG_T::rows; i++) {
        ColumnLoop:
            for (unsigned j = 0; j < CONFIG_T::columns; j++) {
                res_T total = 0;
            TermLoop:
                for (unsigned k = 0; k < CONFIG_T::terms; k++) {
                    total += a[(n * CONFIG_T::rows + i) * CONFIG_T::terms + k] *
                             b[(n * CONFIG_T::terms + k) * CONFIG_T::columns + j];
                }
                res[(n * CONFIG_T::rows + i) * CONFIG_T::columns + j] = total;
            }
        }
    }
}

// One row of the result a cycle, after b's matrix was read, a row a cycle.
template <class a_T, class b_T, class res_T, typename CONFIG_T>
void hwq_matmul(hls::stream<a_T> &a, hls::stream<b_T> &b, hls::stream<res_T> &res) {
    static_assert(a_T::size == CONFIG_T::terms && b_T::size == CONFIG_T::columns && res_T::size == CONFIG_T::columns,
                  "a pixel is not the last axis");
    typename b_T::value_type matrix[CONFIG_T::terms][CONFIG_T::columns];
    #pragma HLS ARRAY_PARTITION variable=matrix complete dim=0
BatchLoop:
    for (unsigned n = 0; n < CONFIG_T::batch; n++) {
    ReadLoop:
        for (unsigned k = 0; k < CONFIG_T::terms; k++) {
            #pragma HLS PIPELINE II=1
            const b_T in = b.read();
        CopyLoop:
            for (unsigned j = 0; j < CONFIG_T::columns; j++) {
                #pragma HLS UNROLL
                matrix[k][j] = in[j];
            }
        }
    RowLoop:
        for (unsigned i = 0; i < CONFIG_T::rows; i++) {
            #pragma HLS PIPELINE II=1
            const a_T in = a.read();
            res_T out;
        ColumnLoop:
            for (unsigned j = 0; j < CONFIG_T::columns; j++) {
                #pragma HLS UNROLL
                typename res_T::value_type total = 0;
            TermLoop:
                for (unsigned k = 0; k < CONFIG_T::terms; k++) {
                    #pragma HLS UNROLL
                    total += in[k] * matrix[k][j];
                }
                out[j] = total;
            }
            res.write(out);
        }
    }
}

} // namespace nnet

#endif
