"""The errors whose kind decides the exit code; everything else is a plain ValueError.

The command line maps them: ValueError 1, GateError 3, EnvironmentFault 4, MemoryError 5, KeyboardInterrupt 130.
"""


class GateError(ValueError):
    """An artifact failed a check that it had to pass (a hash, a parity bound, an undelegated operator)."""


class EnvironmentFault(RuntimeError):
    """The machine lacks something that the command needs (disk space, an optional library)."""
