# An overlay for PYNQ on Zynq-7000: processor, one AXI DMA for each pair of input and output, the network.
# PYNQ boots the processor itself: of its settings only those that the fabric sees matter here (clock, ports).
source [file join [file dirname [info script]] settings.tcl]
set ip hls_prj_axi/solution1/impl/ip
if {![file isdirectory $ip]} {
    puts "ERROR: $ip is missing: run 'make overlay_hls' first"
    exit 1
}
set dmas [expr {max($n_inputs, $n_outputs)}]

proc cell {name vlnv settings} {
    set made [create_bd_cell -type ip -vlnv $vlnv $name]
    if {[llength $settings]} {
        set_property -dict $settings $made
    }
    return $made
}

proc wire {from to} {
    connect_bd_intf_net [get_bd_intf_pins $from] [get_bd_intf_pins $to]
}

proc fan_out {from pins} {
    foreach pin $pins {
        connect_bd_net [get_bd_pins $from] [get_bd_pins $pin]
    }
}

create_project -force overlay vivado_overlay -part $part
set_property ip_repo_paths [file normalize $ip] [current_project]
update_ip_catalog
create_bd_design overlay

set ps [create_bd_cell -type ip -vlnv xilinx.com:ip:processing_system7:5.5 ps]
apply_bd_automation -rule xilinx.com:bd_rule:processing_system7 -config {
    make_external "FIXED_IO, DDR" apply_board_preset "0" Master "Disable" Slave "Disable"
} $ps
set settings [list CONFIG.PCW_USE_M_AXI_GP0 1 CONFIG.PCW_EN_CLK0_PORT 1 CONFIG.PCW_EN_RST0_PORT 1]
lappend settings CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ [expr {1000.0 / $clock_ns}]
for {set i 0} {$i < $dmas} {incr i} {
    lappend settings CONFIG.PCW_USE_S_AXI_HP$i 1 CONFIG.PCW_S_AXI_HP${i}_DATA_WIDTH 64
}
set_property -dict $settings $ps

cell reset xilinx.com:ip:proc_sys_reset:5.0 {}
cell net hwq:hls:${top}_axi:1.0 {}
cell control xilinx.com:ip:smartconnect:1.0 [list CONFIG.NUM_SI 1 CONFIG.NUM_MI [expr {$dmas + 1}]]
wire ps/M_AXI_GP0 control/S00_AXI
wire control/M00_AXI net/s_axi_control
set clocks {reset/slowest_sync_clk ps/M_AXI_GP0_ACLK net/ap_clk control/aclk}
set resets {net/ap_rst_n control/aresetn}

for {set i 0} {$i < $dmas} {incr i} {
    set sends [expr {$i < $n_inputs}]
    set receives [expr {$i < $n_outputs}]
    # Without scatter-gather: a transfer is one buffer of at most 2^26 - 1 bytes.
    set settings [list CONFIG.c_include_sg 0 CONFIG.c_sg_include_stscntrl_strm 0 CONFIG.c_sg_length_width 26]
    lappend settings CONFIG.c_include_mm2s $sends CONFIG.c_include_s2mm $receives
    if {$sends} {
        lappend settings CONFIG.c_m_axi_mm2s_data_width 64 CONFIG.c_m_axis_mm2s_tdata_width 64
        lappend settings CONFIG.c_mm2s_burst_size 16
    }
    if {$receives} {
        lappend settings CONFIG.c_m_axi_s2mm_data_width 64 CONFIG.c_s2mm_burst_size 16
    }
    cell dma_$i xilinx.com:ip:axi_dma:7.1 $settings
    cell memory_$i xilinx.com:ip:smartconnect:1.0 [list CONFIG.NUM_SI [expr {$sends + $receives}] CONFIG.NUM_MI 1]
    wire control/M0[expr {$i + 1}]_AXI dma_$i/S_AXI_LITE
    wire memory_$i/M00_AXI ps/S_AXI_HP$i
    if {$sends} {
        wire dma_$i/M_AXI_MM2S memory_$i/S00_AXI
        wire dma_$i/M_AXIS_MM2S net/in_$i
        lappend clocks dma_$i/m_axi_mm2s_aclk
    }
    if {$receives} {
        wire dma_$i/M_AXI_S2MM memory_$i/S0${sends}_AXI
        wire net/out_$i dma_$i/S_AXIS_S2MM
        lappend clocks dma_$i/m_axi_s2mm_aclk
    }
    lappend clocks dma_$i/s_axi_lite_aclk memory_$i/aclk ps/S_AXI_HP${i}_ACLK
    lappend resets dma_$i/axi_resetn memory_$i/aresetn
}
fan_out ps/FCLK_CLK0 $clocks
fan_out ps/FCLK_RESET0_N reset/ext_reset_in
fan_out reset/peripheral_aresetn $resets
assign_bd_address
validate_bd_design
save_bd_design

make_wrapper -files [get_files overlay.bd] -top -import
set_property top overlay_wrapper [current_fileset]
launch_runs impl_1 -to_step write_bitstream -jobs 2
wait_on_run impl_1
if {[get_property PROGRESS [get_runs impl_1]] ne "100%"} {
    puts "ERROR: implementation failed: see vivado_overlay/overlay.runs"
    exit 1
}
file mkdir overlay
open_run impl_1
report_utilization -file overlay/utilization.rpt
report_timing_summary -file overlay/timing.rpt
set slack [get_property STATS.WNS [get_runs impl_1]]
if {$slack < 0} {
    puts "ERROR: the clock of $clock_ns ns is missed by [expr {-$slack}] ns: generate with a longer --clock-ns"
    exit 1
}
# Vivado before 2020.2 keeps what it generates under .srcs, later ones under .gen.
set handoff [glob vivado_overlay/overlay.{srcs,gen}/sources_1/bd/overlay/hw_handoff/overlay.hwh]
file copy -force [lindex $handoff 0] overlay/$top.hwh
file copy -force vivado_overlay/overlay.runs/impl_1/overlay_wrapper.bit overlay/$top.bit
exit
