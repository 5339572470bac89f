// The windows of a convolution in io_parallel, in place of hls4ml's generated tables of every index: of a
// network on 96x96 images these were 160 MB of C++. Unrolled they are the same multiplexers.
#ifndef HWQ_FILL_BUFFER_H_
#define HWQ_FILL_BUFFER_H_

namespace nnet {

// Where tap (i, j, c) of output pixel (row, column) lies in the tensor; -1 in the padding.
template <typename CONFIG_T, int pad_top, int pad_left>
int hwq_fill_source(int row, int column, int i, int j, int c) {
    #pragma HLS INLINE
    const int h = row * int(CONFIG_T::stride_height) + i - pad_top;
    const int w = column * int(CONFIG_T::stride_width) + j - pad_left;
    const bool inside = h >= 0 && h < int(CONFIG_T::in_height) && w >= 0 && w < int(CONFIG_T::in_width);
    return inside ? (h * int(CONFIG_T::in_width) + w) * int(CONFIG_T::n_chan) + c : -1;
}

// The windows of the output pixels of one partition; base_T is hls4ml's interface. Its configuration of
// distributed arithmetic does not hold the padding.
template <class data_T, typename CONFIG_T, class base_T, int pad_top, int pad_left>
class hwq_fill_buffer : public base_T {
  public:
    static void fill_buffer(data_T data[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan],
                            data_T buffer[CONFIG_T::n_pixels]
                                         [CONFIG_T::filt_height * CONFIG_T::filt_width * CONFIG_T::n_chan],
                            const unsigned partition) {
    PartitionLoop:
        for (unsigned q = 0; q < unsigned(CONFIG_T::n_partitions); q++) {
            #pragma HLS UNROLL
            if (partition == q) {
            PixelLoop:
                for (unsigned p = 0; p < unsigned(CONFIG_T::n_pixels); p++) {
                    #pragma HLS UNROLL
                    fill_pixel(data, buffer[p], q * CONFIG_T::n_pixels + p);
                }
            }
        }
    }

  private:
    static void fill_pixel(data_T data[CONFIG_T::in_height * CONFIG_T::in_width * CONFIG_T::n_chan],
                           data_T window[CONFIG_T::filt_height * CONFIG_T::filt_width * CONFIG_T::n_chan],
                           const unsigned pixel) {
        #pragma HLS INLINE
        unsigned at = 0;
    RowLoop:
        for (int i = 0; i < int(CONFIG_T::filt_height); i++) {
            #pragma HLS UNROLL
        ColumnLoop:
            for (int j = 0; j < int(CONFIG_T::filt_width); j++) {
                #pragma HLS UNROLL
            ChannelLoop:
                for (int c = 0; c < int(CONFIG_T::n_chan); c++) {
                    #pragma HLS UNROLL
                    const int row = int(pixel / CONFIG_T::out_width);
                    const int column = int(pixel % CONFIG_T::out_width);
                    const int from = hwq_fill_source<CONFIG_T, pad_top, pad_left>(row, column, i, j, c);
                    window[at++] = from < 0 ? data_T(0) : data[from < 0 ? 0 : from];
                }
            }
        }
    }
};

} // namespace nnet

#endif
