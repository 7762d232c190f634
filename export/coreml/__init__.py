"""Checkpoint to a `.pte` for Core ML: the modules that are lowered, the lowering, and what it pins down."""
