"""Is it still right? Perplexity and parity."""
