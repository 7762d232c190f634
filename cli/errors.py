"""From an exception to one line on stderr and an exit code (docs/architecture.md, "Errors and exit codes")."""

import errno

import click

from model.errors import EnvironmentFault, GateError

FAILURE = 1
USAGE = 2
GATE = 3
ENVIRONMENT = 4
MEMORY = 5
INTERRUPTED = 130

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
# torch reports a failed allocation as a plain RuntimeError with these words (c10/core/impl/alloc_cpu.cpp).
_TORCH_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def exit_code(error: BaseException) -> int:
    """The documented exit code of an error that ended a command."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return INTERRUPTED
    if isinstance(error, click.UsageError):
        return USAGE
    if isinstance(error, GateError):
        return GATE
    if _is_memory(error):
        return MEMORY
    if isinstance(error, EnvironmentFault | ImportError):
        return ENVIRONMENT
    if isinstance(error, OSError) and error.errno in (*_NO_SPACE, *_NO_RIGHT):
        return ENVIRONMENT
    return FAILURE


def describe(error: BaseException) -> str:
    """What happened, where and what to do, in one line without the program's name."""
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "interrupted; nothing half-written was kept"
    if isinstance(error, click.UsageError):
        return _usage(error)
    if isinstance(error, click.ClickException):
        return _one_line(error.format_message())
    if _is_memory(error):
        detail = _one_line(str(error))
        return (
            f"not enough memory{f' ({detail})' if detail else ''}: close other programs, or make the job smaller "
            "(--max-context, --prefill-chunk; train.micro_batch_tokens of a run file)"
        )
    if isinstance(error, ImportError):
        return f"{_one_line(str(error))}; the installation is not whole: run 'make test' once, or pip install -e ."
    if isinstance(error, OSError):
        return _system(error)
    if isinstance(error, ValueError | EnvironmentFault):
        return _one_line(str(error)) or f"{type(error).__name__} without a message; run again with -v"
    return (
        f"unexpected {type(error).__name__}: {_one_line(str(error))}; this is a fault of pocketlm or of a library: "
        "run again with -v for the whole story"
    )


def _is_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return type(error).__name__ in ("RuntimeError", "OutOfMemoryError") and any(
        words in str(error) for words in _TORCH_NO_MEMORY
    )


def _usage(error: click.UsageError) -> str:
    message = _one_line(error.format_message()).rstrip(".")
    where = error.ctx.command_path if error.ctx is not None else "pocketlm"
    return f"{message}; see '{where} --help'"


def _system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename is not None else ""
    what = error.strerror or _one_line(str(error))
    if error.errno in _NO_SPACE:
        cure = "free some space and run again"
    elif error.errno in _NO_RIGHT:
        cure = "check the rights of that path, or name another"
    else:
        cure = "check the path"
    return f"{where}{what}; {cure}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
