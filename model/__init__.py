"""The model: one decoder definition, its caches, its checkpoints and its tokenizer."""
