# make install | demo | test | faults | compat | lint | docs | bench | bench-gpu | results | clean. Each target makes its own .venv first, which is quick the second time.
#   make test-reference   the masks' tests against pydensecrf, which is installed first and needs a C++ compiler
#   PYTHON=…              interpreter the environment is made with (3.10 or newer)
#   RUN="a=1 b=2"         further options of the demo
#   RESULTS="lambda …"    tables of docs/results.md and options (--data voc=… tiles=…), see benchmarks/results.py; all take a day

PYTHON ?= python3
RUN ?=
RESULTS ?=
VENV := .venv
PY := $(VENV)/bin/python

STAMP := $(VENV)/.installed
REFERENCE := $(VENV)/.installed-pydensecrf

.DEFAULT_GOAL := help
.PHONY: help install demo test test-reference faults compat lint docs bench bench-gpu results clean

help:
	@head -5 Makefile | cut -c3-

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON): install Python 3.10 or newer, or name one with make PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "error: $(PYTHON) is older than Python 3.10, or does not run; name another with make PYTHON=python3.x"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: python could not make $(VENV) (Debian: apt install python3-venv)"; exit 1; }
	@echo "installing into $(VENV), which takes some minutes"
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,demo,tracking]"
	@touch $@

$(REFERENCE): $(STAMP)
	@command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
	  { echo "error: no C++ compiler, which pydensecrf needs: install one (Debian: apt install g++; macOS: xcode-select --install)"; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[crf]"
	@touch $@

install: $(STAMP)

demo: $(STAMP)
	$(PY) scripts/run_pipeline.py experiment=demo $(RUN)

test: $(STAMP)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --cov --cov-report=html:build/coverage
	@echo "coverage of wsss: $$($(PY) -m coverage report --format=total) %, line by line in build/coverage/index.html"

test-reference: $(REFERENCE)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile tests/masks tests/pipeline/test_make_masks.py tests/pipeline/test_run_all.py

faults: $(STAMP)
	OMP_NUM_THREADS=1 $(PY) -m tests.faults.kill --kills 100
	OMP_NUM_THREADS=1 $(PY) -m tests.faults.kill --kills 100 --seed 1 masks=irn segmenter.self_training.rounds=1 segmenter.supervised_twin=true
	OMP_NUM_THREADS=1 $(PY) -m tests.faults.fuzz --count 5000

compat: $(STAMP)
	$(PY) -m pip install --quiet --disable-pip-version-check nox
	$(VENV)/bin/nox

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

docs: $(STAMP)
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	$(PY) docs/reference.py
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "build/site/index.html"

bench: $(REFERENCE)
	$(PY) benchmarks/recam_head.py
	$(PY) benchmarks/cam.py
	$(PY) benchmarks/crf.py
	$(PY) benchmarks/threshold_sweep.py
	$(PY) benchmarks/random_walk.py
	$(PY) benchmarks/evaluation.py
	$(PY) benchmarks/loading.py
	$(PY) benchmarks/segmenter.py
	$(PY) benchmarks/page.py
	$(PY) benchmarks/report.py

bench-gpu: $(STAMP)
	$(PY) benchmarks/gpu.py

results: $(STAMP)
	$(PY) benchmarks/results.py $(RESULTS)

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@echo "kept: outputs/ (runs) and data/"
