"""Exits 0 if this interpreter can make the project's environment: Python 3.11 to 3.14 with venv and pip's installer."""

import ensurepip  # noqa: F401  (Debian's bare python3 lacks it, and venv then fails half-way)
import sys
import venv  # noqa: F401

sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
