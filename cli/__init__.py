"""The command line: one click group, one short function a command."""
