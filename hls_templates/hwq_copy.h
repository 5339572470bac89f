// A tensor for each of its readers: a dataflow region wants one reader of an array.
#ifndef HWQ_COPY_H_
#define HWQ_COPY_H_

namespace nnet {

template <class data_T, class res_T, unsigned SIZE> void hwq_copy_one(const data_T data[SIZE], res_T res[SIZE]) {
    #pragma HLS INLINE
CopyLoop:
    for (unsigned i = 0; i < SIZE; i++) {
        #pragma HLS UNROLL
        res[i] = res_T(data[i]);
    }
}

template <class data_T, class res_T, unsigned SIZE>
void hwq_copy(const data_T data[SIZE], res_T res1[SIZE], res_T res2[SIZE]) {
    #pragma HLS PIPELINE II=1
    hwq_copy_one<data_T, res_T, SIZE>(data, res1);
    hwq_copy_one<data_T, res_T, SIZE>(data, res2);
}

template <class data_T, class res_T, unsigned SIZE>
void hwq_copy(const data_T data[SIZE], res_T res1[SIZE], res_T res2[SIZE], res_T res3[SIZE]) {
    #pragma HLS PIPELINE II=1
    hwq_copy_one<data_T, res_T, SIZE>(data, res1);
    hwq_copy_one<data_T, res_T, SIZE>(data, res2);
    hwq_copy_one<data_T, res_T, SIZE>(data, res3);
}

template <class data_T, class res_T, unsigned SIZE>
void hwq_copy(const data_T data[SIZE], res_T res1[SIZE], res_T res2[SIZE], res_T res3[SIZE], res_T res4[SIZE]) {
    #pragma HLS PIPELINE II=1
    hwq_copy_one<data_T, res_T, SIZE>(data, res1);
    hwq_copy_one<data_T, res_T, SIZE>(data, res2);
    hwq_copy_one<data_T, res_T, SIZE>(data, res3);
    hwq_copy_one<data_T, res_T, SIZE>(data, res4);
}

template <class data_T, class res_T, unsigned SIZE>
void hwq_copy(const data_T data[SIZE], res_T res1[SIZE], res_T res2[SIZE], res_T res3[SIZE],
              res_T res4[SIZE], res_T res5[SIZE]) {
    #pragma HLS PIPELINE II=1
    hwq_copy_one<data_T, res_T, SIZE>(data, res1);
    hwq_copy_one<data_T, res_T, SIZE>(data, res2);
    hwq_copy_one<data_T, res_T, SIZE>(data, res3);
    hwq_copy_one<data_T, res_T, SIZE>(data, res4);
    hwq_copy_one<data_T, res_T, SIZE>(data, res5);
}

template <class data_T, class res_T, unsigned SIZE>
void hwq_copy(const data_T data[SIZE], res_T res1[SIZE], res_T res2[SIZE], res_T res3[SIZE],
              res_T res4[SIZE], res_T res5[SIZE], res_T res6[SIZE]) {
    #pragma HLS PIPELINE II=1
    hwq_copy_one<data_T, res_T, SIZE>(data, res1);
    hwq_copy_one<data_T, res_T, SIZE>(data, res2);
    hwq_copy_one<data_T, res_T, SIZE>(data, res3);
    hwq_copy_one<data_T, res_T, SIZE>(data, res4);
    hwq_copy_one<data_T, res_T, SIZE>(data, res5);
    hwq_copy_one<data_T, res_T, SIZE>(data, res6);
}

template <class data_T, class res_T, unsigned SIZE>
void hwq_copy(const data_T data[SIZE], res_T res1[SIZE], res_T res2[SIZE], res_T res3[SIZE], res_T res4[SIZE],
              res_T res5[SIZE], res_T res6[SIZE], res_T res7[SIZE]) {
    #pragma HLS PIPELINE II=1
    hwq_copy_one<data_T, res_T, SIZE>(data, res1);
    hwq_copy_one<data_T, res_T, SIZE>(data, res2);
    hwq_copy_one<data_T, res_T, SIZE>(data, res3);
    hwq_copy_one<data_T, res_T, SIZE>(data, res4);
    hwq_copy_one<data_T, res_T, SIZE>(data, res5);
    hwq_copy_one<data_T, res_T, SIZE>(data, res6);
    hwq_copy_one<data_T, res_T, SIZE>(data, res7);
}

} // namespace nnet

#endif
