"""Keeps the converter's chatter off the terminal: warnings about versions that it was not tested with, progress bars.

coremltools has no native part on Linux and says so a dozen times; nothing here needs it.
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

_log = logging.getLogger("pocketlm")

_LOUD = (
    "coremltools",
    "executorch.backends.apple.coreml.compiler.coreml_preprocess",
    "executorch.backends.apple.coreml.partition.coreml_partitioner",
)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within the block what the converter writes to `sys.stderr` is kept, and shown at level DEBUG when it fails.

    The first import of the converter's modules belongs inside. Loggers get their levels and the root logger its
    handlers back.
    """
    root, said = logging.getLogger(), io.StringIO()
    handlers = list(root.handlers)
    levels = {name: logging.getLogger(name).level for name in _LOUD}
    with contextlib.redirect_stderr(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _set(dict.fromkeys(_LOUD, logging.ERROR))
            import coremltools  # noqa: F401
            from executorch.backends.apple.coreml.partition import CoreMLPartitioner  # noqa: F401

            _set(dict.fromkeys(_LOUD, logging.ERROR))  # importing has set some
            yield
        except BaseException:
            _log.debug("the converter said:\n%s", said.getvalue())
            raise
        finally:
            root.handlers[:] = handlers
            _set(levels)


def _set(levels: dict[str, int]) -> None:
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
