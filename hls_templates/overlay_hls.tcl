# The network with AXI4-Stream ports, as IP for Vivado.
source [file join [file dirname [info script]] settings.tcl]
open_project -reset hls_prj_axi
set_top ${top}_axi
add_files firmware/$top.cpp -cflags $cflags
add_files ${top}_axi.cpp -cflags $cflags
open_solution -reset solution1 -flow_target vivado
set_part $part
create_clock -period $clock_ns -name default
set_clock_uncertainty $clock_uncertainty default
config_compile -name_max_length 80
config_schedule -enable_dsp_full_reg=false
csynth_design
export_design -format ip_catalog -vendor hwq -library hls -version 1.0 -ipname ${top}_axi
exit
