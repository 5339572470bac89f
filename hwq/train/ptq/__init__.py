"""Post-training quantisation of plain float networks."""
