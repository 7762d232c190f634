"""Is it fast and small? Scripts that measure, and their dated results."""
