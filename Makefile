# mercer: `make help` lists what can be made. Needs make and Python 3.11 or 3.12, nothing else.

VENV   := .venv
PYTHON := $(VENV)/bin/python
# Two workers share two cores: one thread each, or they take turns at waiting for each other.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help run flights gallery test coverage check docs bench claims broken clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: $(VENV)/.ready-run  ## fit an exact kernel model to the price of 53,940 diamonds and write a report
	@echo "== run: the main job, an exact kernel model of 53,940 diamonds (about 4 minutes on 2 cores)"
	$(PYTHON) -m mercer.tables.examples diamonds

flights: $(VENV)/.ready-run  ## the second example: the delay of 327,346 flights, by centres
	@echo "== flights: arrival delay of 327,346 flights, by centres (up to 8 minutes on 2 cores)"
	$(PYTHON) -m mercer.tables.examples flights

gallery: $(VENV)/.ready-gallery  ## the papers in a browser, with what came out and a button that measures
	@echo "== gallery: http://127.0.0.1:8036 with the results of this repository; Ctrl-C ends it"
	$(PYTHON) -m mercer.cli gallery --results results

test: $(VENV)/.ready-test $(VENV)/.ready-browser  ## run the tests
	@echo "== test: the tests, in random order, on 2 processes"
	$(ONE_THREAD) $(PYTHON) -m pytest -n 2 --dist worksteal -q

coverage: $(VENV)/.ready-test $(VENV)/.ready-browser  ## run the tests and say which branches they miss
	@echo "== coverage: the tests again, watching which branches they take"
	$(ONE_THREAD) $(PYTHON) -m pytest -n 2 --dist worksteal -q --cov --cov-report term-missing:skip-covered

check: $(VENV)/.ready-check  ## lint, format, types, and the docs without a warning
	@echo "== check: ruff, mypy --strict, then the docs with warnings as errors"
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/sphinx-build -W --keep-going -q docs docs/_build/html

docs: $(VENV)/.ready-check  ## build the docs
	@echo "== docs: docs/_build/html/index.html"
	$(VENV)/bin/sphinx-build -W --keep-going -q docs docs/_build/html

bench: $(VENV)/.ready-bench  ## measure against KeOps, GPyTorch and scikit-learn, side by side
	@echo "== bench: speed against the peers, alternating in one process; leave the machine alone meanwhile"
	$(PYTHON) -m benchmarks

claims: $(VENV)/.ready-claims  ## measure again what papers claim, where the code has changed since results/quick
	@echo "== claims: the quick claims of all papers, up to 4 minutes a paper, nothing where nothing has changed"
	$(PYTHON) -m mercer.cli run all --jobs 2 --results results

broken: $(VENV)/.ready-claims  ## measure the same with every method broken, where the code has changed
	@echo "== broken: the claims that must not hold once a method is broken"
	$(PYTHON) -m mercer.cli run all --broken --jobs 2 --results results

clean:  ## remove everything that make has made
	@echo "== clean: $(VENV), docs/_build, runs and the tools' caches"
	rm -rf $(VENV) docs/_build docs/api docs/papers docs/speed.md runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

# One stamp for each set of extras: pip runs again only when the dependencies or their versions change.
$(VENV)/.ready-run:   EXTRAS := tables,data,fourier
$(VENV)/.ready-test:  EXTRAS := test
$(VENV)/.ready-check: EXTRAS := check
$(VENV)/.ready-bench: EXTRAS := tables,data,fourier,bench
$(VENV)/.ready-claims: EXTRAS := tables,data,fourier
$(VENV)/.ready-gallery: EXTRAS := tables,data,fourier,gallery
$(VENV)/.ready-%: pyproject.toml constraints.txt | $(PYTHON)
	@echo "== install: mercer[$(EXTRAS)] into $(VENV), in the versions of constraints.txt"
	$(PYTHON) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

# The gallery is tested in a browser. Where there is none and none can be installed, those tests are skipped.
$(VENV)/.ready-browser: | $(PYTHON)
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "== install: chromium" && \
	  (apt-get -qq update && apt-get -qq -y --no-install-recommends install chromium) >/dev/null 2>&1; \
	} || echo "== no chromium here: the gallery is not tested in a browser"
	@touch $@

# A pyenv or system may have the name python3.12 without the program behind it, so each candidate is run.
$(PYTHON):
	@for python in python3.11 python3.12 python3 python; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])' 2>/dev/null; then \
	    echo "== venv: $(VENV) with $$($$python --version)"; exec $$python -m venv $(VENV); \
	  fi; \
	done; echo "mercer needs Python 3.11 or 3.12, and none is on the PATH." >&2; exit 1
