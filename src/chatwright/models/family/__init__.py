"""The family: one short file an architecture, with its shape, its published sizes and its public names."""
