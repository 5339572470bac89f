// STAND-IN for the vendor's ap_axi_sdata.h, for g++ alone: hls4ml's free headers do not bring that one.
//
// It holds the members of ap_axiu<D, 0, 0, 0> that hwq_axis.h uses, by the vendor's names (UG1399, "How
// AXI4-Stream is Implemented"). Only g++ is given the folder that it lies in; Vitis HLS finds its own header.
#ifndef HWQ_STAND_IN_AP_AXI_SDATA_H_
#define HWQ_STAND_IN_AP_AXI_SDATA_H_

#include "ap_int.h"

template <int D, int U, int TI, int TD> struct ap_axiu {
    static_assert(D % 8 == 0 && U == 0 && TI == 0 && TD == 0, "the stand-in has no TUSER, TID and TDEST");
    ap_uint<D> data;
    ap_uint<D / 8> keep;
    ap_uint<D / 8> strb;
    ap_uint<1> last;
};

#endif
