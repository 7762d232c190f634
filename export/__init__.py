"""Checkpoint to package: programs, lowering, the manifest, runners and inspection."""
