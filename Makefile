# `make run` and `make test` set up all that they need in .venv, and nothing outside this folder.
#
# TORCH_INDEX names the index that torch comes from; empty, pip's own. On a machine where pip would bring gigabytes of
# CUDA, say: make run TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
TORCH := $(shell grep --only-matching --max-count=1 "torch==[0-9.]*" pyproject.toml)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install run test check faults bench demo-model clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# clip-gaze is a test's reference; its own open requirements would bring another torch.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps clip-gaze==0.3.0
	touch $@

run: install
	GAZE_MODEL=$${GAZE_MODEL:-demo} $(BIN)/gaze serve

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

# Brings about every fault of tests/faults/table.py on a real server, and prints one line for each. In a network of its
# own, which takes Linux. make faults ARGS=--quick leaves out what takes minutes.
faults: $(VENV)/.installed-dev
	$(BIN)/python -m tests.faults $(ARGS)

# Measures the service and its peers, each in an environment of its own under .bench/, and writes .bench/results.md.
# Options: make bench ARGS="--only floor,start". Nothing else should run on the machine meanwhile.
bench: $(VENV)/.installed-dev
	TORCH_INDEX="$(TORCH_INDEX)" $(BIN)/python -m benchmarks $(ARGS)

# Draws its pictures, trains and evaluates the demo model anew: under an hour on two cores.
demo-model: $(VENV)/.installed-dev
	$(BIN)/python -m training.train
	$(BIN)/python -m training.evaluate

clean:
	rm -rf $(VENV)
