"""What `bench` and `profile` do and say, and the files that they write."""

from pathlib import Path
from typing import Any

import click

from cli.report import Result
from model.files import atomic_output, check_target, dump_json
from runner.bench import BenchOptions
from runner.child import Progress


def bench_job(
    package: Path,
    *,
    progress: Progress,
    is_verbose: bool,
    output: Path | None,
    overwrite: bool,
    on_phone: bool,
    serial: str | None,
    ndk: Path | None,
    sdk: Path | None,
    **options: Any,
) -> Result:
    """Measures on this machine or on a phone.

    Raises:
        click.UsageError: --adb without what it needs, or what it needs without --adb.
        ValueError, GateError, EnvironmentFault: as `runner.bench.bench`; OUTPUT exists.
    """
    from runner.adb import bench_on_phone
    from runner.bench import bench

    _check_phone_options(on_phone, serial, ndk, sdk)
    _check_output(output, overwrite)
    asked = BenchOptions(verbose=is_verbose, **options)
    if on_phone:
        assert ndk is not None and sdk is not None  # checked above
        found = bench_on_phone(package, asked, ndk=ndk, sdk=sdk, serial=serial, progress=progress)
    else:
        found = bench(package, asked, progress=progress)
    data = found.to_json()
    _write(output, dump_json(data), overwrite)
    return Result(data=data, lines=[*found.lines(), *_written(output)])


def profile_job(
    package: Path, *, progress: Progress, is_verbose: bool, output: Path | None, overwrite: bool, **options: Any
) -> Result:
    """Traces a package; OUTPUT is a page, or JSON where its name says so.

    Raises:
        ValueError, GateError, EnvironmentFault: as `runner.profile.profile`; OUTPUT exists.
    """
    from evaluation.profile_page import to_page
    from runner.profile import ProfileOptions, profile

    _check_output(output, overwrite)
    found = profile(package, ProfileOptions(verbose=is_verbose, **options), progress=progress)
    data = found.to_json()
    if output is not None:
        _write(output, dump_json(data) if output.suffix == ".json" else to_page(found), overwrite)
    return Result(data=data, lines=[*found.lines(), *_written(output)])


def _check_phone_options(on_phone: bool, serial: str | None, ndk: Path | None, sdk: Path | None) -> None:
    if on_phone and (ndk is None or sdk is None):
        missing = "--ndk (Android's NDK)" if ndk is None else "--sdk (an Android build of ExecuTorch)"
        raise click.UsageError(f"--adb needs {missing}; docs/bench.md says where it comes from")
    if not on_phone and (serial is not None or sdk is not None):
        raise click.UsageError("--serial and --sdk are for a phone; add --adb, or leave them out")


def _check_output(output: Path | None, overwrite: bool) -> None:
    """Before minutes of measuring."""
    if output is not None:
        check_target(output, overwrite=overwrite)


def _write(output: Path | None, text: str, overwrite: bool) -> None:
    """Beside its place, then renamed."""
    if output is not None:
        with atomic_output(output, overwrite=overwrite, folder=False) as partial:
            partial.write_text(text, encoding="utf-8")


def _written(output: Path | None) -> list[str]:
    return [] if output is None else [f"written to {output}"]
