# Everything runs from a virtual environment that these targets create.
# Set-up reads from the null device and writes to standard error, so that commands can be piped into the demo.
PYTHON ?= python3.11
VENV   := .venv
PY     := $(VENV)/bin/python
READY  := $(VENV)/.ready
DEV    := $(VENV)/.ready-dev
# Same value as in engine/__init__.py, which is too late for tests: they import numpy first.
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: demo run test test-quick check bench messages gallery clean

demo: $(READY)
	@$(PY) bot.py demo $(ARGS)

run: $(READY)
	@$(PY) bot.py run $(ARGS)

# In parallel: `make test ARGS="-n 0 -k near"` runs in one process.
test: $(DEV)
	@$(PY) -m pytest -n auto --dist worksteal $(ARGS)

test-quick: $(DEV)
	@$(PY) -m pytest -n auto --dist worksteal -m "not slow" $(ARGS)

check: $(DEV)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest -n auto --dist worksteal $(ARGS)

bench: $(DEV)
	@$(PY) -m benchmarks $(ARGS)

# Add new texts to the translators' catalogues, untranslated; a test fails until they are translated.
MARKS := -k _ -k N_ -k n_:1,2 -k InputError -k NotReadyError -k command:2 -k Parameter:2
messages: $(DEV)
	@mkdir -p build
	$(PY) -m babel.messages.frontend -q extract --no-default-keywords $(MARKS) --no-wrap --no-location --sort-output \
	  --omit-header -o build/cliffwatch.pot engine handlers
	for tag in zh-Hans es ru pt-BR vi; do \
	  $(PY) -m babel.messages.frontend -q update --no-wrap --no-fuzzy-matching --ignore-obsolete --omit-header \
	    -i build/cliffwatch.pot -o handlers/catalogues/$$tag.po -l $$(echo $$tag | tr - _); \
	done

gallery: $(DEV)
	@$(PY) -m tests.gallery

$(READY): pyproject.toml constraints.txt
	@echo "cliffwatch: setting up $(VENV) (once)" >&2
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) </dev/null >&2
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . </dev/null >&2
	@touch $@

$(DEV): $(READY)
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]' </dev/null >&2
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
