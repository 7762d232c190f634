"""The training loop: data, optimizer, state on disk. What it needs of models stands in model/."""
