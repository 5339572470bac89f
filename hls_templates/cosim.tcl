source [file join [file dirname [info script]] open_hls.tcl]
cosim_design -rtl verilog
exit
