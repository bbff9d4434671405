# `make demo` and `make test` do all their set-up, in .venv; what is installed already is not installed again.
# PYTHON=python3.12 takes another Python (3.10 or later).

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
PIP := $(RUN) pip install --disable-pip-version-check --quiet

# An unpinned torch would be the newest CUDA build.
TORCH := torch==2.13.*

.PHONY: demo test soak fuzz

demo: $(VENV)/.runtime
	$(RUN) panoptic_ros demo

test: $(VENV)/.test
	$(RUN) pytest $(ARGS)

soak: $(VENV)/.runtime
	$(RUN) tests.soak $(ARGS)

fuzz: $(VENV)/.test
	$(RUN) tests.fuzz $(ARGS)

$(VENV)/.runtime: setup.py | $(VENV)/bin/python
	@echo "installing the runtime into $(VENV)"
	$(PIP) --use-pep517 --editable '.[openvino,dds,bags]'
	@touch $@

$(VENV)/.test: setup.py | $(VENV)/bin/python
	@echo "installing the runtime, training and tests into $(VENV)"
	$(PIP) --use-pep517 '$(TORCH)' --editable '.[test]'
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "error: $(PYTHON) is missing or older than 3.10; say which to take: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: $(PYTHON) cannot make a virtual environment: sudo apt install python3-venv"; exit 1; }
