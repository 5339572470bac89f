source [file join [file dirname [info script]] open_hls.tcl]
csynth_design
exit
