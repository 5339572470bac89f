# Synthesis, placement and routing out of context: area and timing of the design alone, without I/O.
source [file join [file dirname [info script]] settings.tcl]
set verilog hls_prj/solution1/syn/verilog
if {![file isdirectory $verilog]} {
    puts "ERROR: $verilog is missing: run 'make csynth' first"
    exit 1
}
file mkdir impl
create_project -in_memory -part $part
# Vitis HLS describes the cores it needs in these scripts.
foreach script [glob -nocomplain $verilog/*.tcl] {
    source $script
}
read_verilog [glob $verilog/*.v]
foreach memory [glob -nocomplain $verilog/*.dat] {
    add_files $memory
}
set constraints [open impl/clock.xdc w]
puts $constraints "create_clock -name ap_clk -period $clock_ns \[get_ports ap_clk\]"
close $constraints
read_xdc -mode out_of_context impl/clock.xdc
synth_design -top $top -part $part -mode out_of_context
report_utilization -file impl/utilization_synth.rpt
opt_design
place_design
phys_opt_design
route_design
report_utilization -file impl/utilization.rpt
report_utilization -hierarchical -file impl/utilization_hierarchical.rpt
report_timing_summary -file impl/timing.rpt
report_power -file impl/power.rpt
write_checkpoint -force impl/$top.dcp
exit
