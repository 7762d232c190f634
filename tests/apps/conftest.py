"""Packages that the tests of the apps share."""

from tests.apps.app_packages import (  # noqa: F401  fixtures for the folder
    bounded_package,
    chat_package,
    coreml_package,
    endless_package,
)
