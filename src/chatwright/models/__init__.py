"""Models: layers, attention, positions, the decoder, its heads, sizes by name, and the public formats."""
