source [file join [file dirname [info script]] open_hls.tcl]
csim_design
exit
