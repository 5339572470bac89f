"""From a real-valued network to integers only, exactly."""
