"""Cost laws, one file a family: from a node, its tensors and its `Site` to a `LayerCost`."""
