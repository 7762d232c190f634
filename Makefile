# Everything a person runs: `make demo` and `make test` first. Needs Python 3.11 to 3.14 and nothing else; no root.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := chat model quant train export kernels runner evaluation benchmarks cli
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p .ci/is_usable_python.py 2>/dev/null && { command -v $$p; break; }; done)

# A warning of the C++ compiler is an error here, and not where somebody only runs pocketlm.
export POCKETLM_WERROR := 1

.DEFAULT_GOAL := help
.PHONY: help demo test slow arm android ios pages check format vectors clean
.DELETE_ON_ERROR:

help:
	@echo "make demo     set up, then make a package of the trained model in assets/nano, prove it and run it"
	@echo "make test     set up, then run the fast tests"
	@echo "make slow     the tests that take minutes"
	@echo "make arm      the kernels and the native runner for aarch64, in qemu"
	@echo "make android  the Android app: its core compiled, tested and driven, the rest compiled against stubs"
	@echo "make ios      the iOS app, the same, in a Debian chroot with Swift (root)"
	@echo "make pages    the report page in a real browser (Chromium)"
	@echo "make check    formatting, lint, types, import order, file lengths, test vectors"
	@echo "make format   rewrite the code in the one format"
	@echo "make vectors  write tests/vectors/ again (the apps read them)"
	@echo "make clean    remove the environment, caches and the demo's output"

# torch first and alone, so that its build is chosen by the pin and by nothing that another package asks for.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/pip || { test -n "$(PYTHON)" || { echo "no Python 3.11 to 3.14 with the venv module was found;" \
		"install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }; $(PYTHON) -m venv $(VENV); }
	@echo "installing into $(VENV)/ (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(STAMP)
	@$(BIN)/pocketlm demo

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow and not browser and not emulated and not kotlin and not swift" $(PYTEST_ARGS)

slow: $(STAMP)
	$(BIN)/python -m pytest -m "slow and not emulated and not kotlin and not swift" $(PYTEST_ARGS)

arm: $(STAMP)
	@$(BIN)/python -m tests.arm
	$(BIN)/python -m pytest -m emulated tests/kernels tests/runner $(PYTEST_ARGS)

# What these two fetch lies in .cache/kotlin, .cache/android and .cache/swift; minutes on two cores: docs/app-core.md.
android: $(STAMP)
	@.ci/kotlin.sh fetch
	@.ci/android.sh fetch
	$(BIN)/python -m pytest -m kotlin tests/apps $(PYTEST_ARGS)

ios: $(STAMP)
	@.ci/swift.sh setup
	$(BIN)/python -m pytest -m swift tests/apps $(PYTEST_ARGS)

pages: $(STAMP)
	@$(BIN)/python -m tests.pages.browser
	$(BIN)/python -m pytest -m browser tests/pages $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/check_lengths.py
	$(BIN)/python -m tests.vectors.generate --check

format: $(STAMP)
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

vectors: $(STAMP)
	$(BIN)/python -m tests.vectors.generate

clean:
	rm -rf $(VENV) demo .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis *.egg-info
	find $(CODE) assets tests -name __pycache__ -type d -prune -exec rm -rf {} +
