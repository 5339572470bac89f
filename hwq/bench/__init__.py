"""What `hwq bench` measures."""
