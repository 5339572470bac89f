# Open the Vitis HLS project, made anew when it is not there.
source [file join [file dirname [info script]] settings.tcl]
open_project hls_prj
set_top $top
add_files firmware/$top.cpp -cflags $cflags
add_files -tb ${top}_test.cpp -cflags $cflags
add_files -tb hwq_testbench.h
add_files -tb tb_data
add_files -tb firmware/weights
if {$backend eq "vivado"} {
    open_solution solution1
} else {
    open_solution solution1 -flow_target vivado
}
set_part $part
create_clock -period $clock_ns -name default
set_clock_uncertainty $clock_uncertainty default
config_compile -name_max_length 80
if {$backend eq "vitis"} {
    config_schedule -enable_dsp_full_reg=false
}
