"""Exit codes and the one line that goes with each."""

import errno

import click
import pytest

from cli.errors import describe, exit_code
from model.errors import EnvironmentFault, GateError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("bad"), 1),
        (KeyError("x"), 1),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a"), 1),
        (click.UsageError("what?"), 2),
        (click.BadParameter("no"), 2),
        (GateError("hash"), 3),
        (EnvironmentFault("disk"), 4),
        (ImportError("no executorch"), 4),
        (OSError(errno.ENOSPC, "No space left on device", "a"), 4),
        (PermissionError(errno.EACCES, "Permission denied", "a"), 4),
        (MemoryError(), 5),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 5),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"),
            5,
        ),
        (RuntimeError("something else"), 1),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_every_kind_of_error_has_its_documented_exit_code(error, code):
    assert exit_code(error) == code


@pytest.mark.parametrize(
    "error",
    [
        ValueError("first line\n  second line"),
        RuntimeError("C++\nstack\nof lines"),
        KeyError("x"),
        MemoryError(),
        KeyboardInterrupt(),
        click.UsageError("no\nsuch option"),
        OSError(errno.ENOSPC, "No space left on device", "a"),
        ImportError("no\nmodule"),
        ValueError(),
    ],
)
def test_an_error_is_always_one_line_that_is_not_empty(error):
    line = describe(error)
    assert line and "\n" not in line


def test_a_full_disk_names_the_path_and_the_cure():
    line = describe(OSError(errno.ENOSPC, "No space left on device", "/out/model.pte"))
    assert "/out/model.pte" in line and "free some space" in line


def test_a_usage_error_points_to_the_help_of_its_command():
    context = click.Context(
        click.Command("export"), info_name="export", parent=click.Context(click.Group(), info_name="pocketlm")
    )
    assert (
        describe(click.UsageError("No such option: --x.", ctx=context))
        == "No such option: --x; see 'pocketlm export --help'"
    )


def test_an_unforeseen_error_says_that_it_is_a_fault_and_how_to_see_more():
    line = describe(ZeroDivisionError("division by zero"))
    assert "ZeroDivisionError" in line and "fault" in line and "-v" in line
