source [file join [file dirname [info script]] open_hls.tcl]
export_design -format ip_catalog
exit
