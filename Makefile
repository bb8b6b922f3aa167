# make demo | test | lint | bench | clean. Each target makes its own .venv first, which is quick the second time.
#   CRF=0          leave out pydensecrf (no C++ compiler needed); masks are then made by threshold
#   PYTHON=…       interpreter the environment is made with (3.10 or newer)
#   RUN="a=1 b=2"  further options of the demo

PYTHON ?= python3
CRF ?= 1
RUN ?=
VENV := .venv
PY := $(VENV)/bin/python

ifeq ($(CRF),0)
EXTRAS := dev,demo,tracking
DEMO_OPTIONS := masks=threshold run=demo_threshold
else
EXTRAS := dev,demo,tracking,crf
endif
STAMP := $(VENV)/.installed-$(CRF)

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench clean

help:
	@head -4 Makefile | cut -c3-

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON): install Python 3.10 or newer, or name one with make PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "error: $(PYTHON) is older than Python 3.10, or does not run; name another with make PYTHON=python3.x"; exit 1; }
	@test "$(CRF)" = 0 || command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null || \
	  { echo "error: no C++ compiler, which pydensecrf needs: install one (Debian: apt install g++; macOS: xcode-select --install) or do without the CRF: make CRF=0 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: python could not make $(VENV) (Debian: apt install python3-venv)"; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

demo: $(STAMP)
	$(PY) scripts/run_pipeline.py experiment=demo $(DEMO_OPTIONS) $(RUN)

test: $(STAMP)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(STAMP)
	$(PY) benchmarks/recam_head.py
	$(PY) benchmarks/cam.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@echo "kept: outputs/ (runs) and data/"
