# `make run` and `make test` set up all that they need in .venv, and nothing outside this folder.
#
# TORCH_INDEX names the index that torch comes from; empty, pip's own. On a machine where pip would bring gigabytes of
# CUDA, say: make run TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
TORCH := $(shell grep --only-matching --max-count=1 "torch==[0-9.]*" pyproject.toml)

export PLAYWRIGHT_BROWSERS_PATH := $(CURDIR)/$(VENV)/browsers
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NO_MKDOCS_2_WARNING := 1

.PHONY: install run test test-all check mutants faults faults-timed contract fuzz fuzz-images fuzz-costs fuzz-requests fuzz-front-door bench docs lock audit sbom demo-model clean

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

# The tests of the page drive Debian's chromium where it is installed, else Playwright's own, which comes into .venv.
$(VENV)/.browser: $(VENV)/.installed-dev
	command -v chromium > /dev/null || $(BIN)/playwright install chromium \
		|| echo "There is no Chromium, so the tests of the page will be skipped: apt install chromium"
	touch $@

# A IIIF viewer's parser, which reads our annotation pages, and a generator of TypeScript clients.
NODE_TESTS := tests/viewer tests/typescript
$(VENV)/.node: $(NODE_TESTS:=/package-lock.json) $(VENV)/.installed-dev
	if command -v npm > /dev/null; then \
		for each in $(NODE_TESTS); do npm ci --prefix $$each --ignore-scripts --no-audit --no-fund || exit; done; \
		else echo "There is no npm, so the tests of other programs in JavaScript will be skipped: apt install npm"; fi
	touch $@

# Two files of tests at a time, in the order that tests/conftest.py gives them. `make test` leaves out what takes long,
# and names it at its end.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
test: $(VENV)/.browser $(VENV)/.node
	$(PYTEST) --quick

test-all: $(VENV)/.browser $(VENV)/.node
	$(PYTEST)

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) docs
	$(MAKE) test-all

# Brings about every fault of tests/faults/table.py on a real server, and prints one line for each. In a network of its
# own, which takes Linux. make faults ARGS=--quick leaves out what takes minutes, and
# faults-timed brings about nothing else.
faults: $(VENV)/.installed-dev
	$(BIN)/python -m tests.faults $(ARGS)

faults-timed: $(VENV)/.installed-dev
	$(BIN)/python -m tests.faults --timed $(ARGS)

# Sends mutated pictures of every format, and odd ones made by hand, to a service at ADDRESS.
ADDRESS ?= http://127.0.0.1:8000
fuzz-images: $(VENV)/.installed-dev
	$(BIN)/python -m fuzz.images $(ADDRESS) --per-format 10000 $(ARGS)

# Searches each format and each kind of body, for SECONDS each, for what costs more than a second or 100 MB for each
# 100 kB, and leaves it in .fuzz/costs/.
fuzz-costs: $(VENV)/.installed-dev
	$(BIN)/python -m fuzz.costs --seconds $(SECONDS) $(ARGS)

# Asks a real server all that the OpenAPI document allows: EXAMPLES for each operation, and as many chains of links.
EXAMPLES ?= 5000
contract: $(VENV)/.installed-dev
	CONTRACT_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/test_contract.py $(ARGS)

# Fuzzes, guided by coverage, the parser of requests and the decoder's front door, each for SECONDS.
SECONDS ?= 600
fuzz: fuzz-requests fuzz-front-door

fuzz-requests fuzz-front-door: $(VENV)/.installed-dev .fuzz/.installed
	PYTHONPATH=.fuzz $(BIN)/python -m $(subst -,_,$(subst fuzz-,fuzz.,$@)) -max_total_time=$(SECONDS) $(ARGS)

# Apart from .venv, because only fuzzing wants it.
.fuzz/.installed:
	$(BIN)/python -m pip install --quiet --target .fuzz --only-binary :all: atheris==3.0.0
	touch $@

# Writes the lock files of the images: pyproject.toml's dependencies and theirs, with the hashes of all files that the
# index has of a release. Releases and hashes stay as they are locked, unless ARGS=--upgrade.
LOCKS ?= requirements
LOCK = $(BIN)/uv pip compile --quiet --no-header --generate-hashes --python-version 3.11 \
	--python-platform x86_64-manylinux_2_35 $(ARGS)
lock: $(VENV)/.installed-dev
	$(LOCK) pyproject.toml --excludes requirements/only-with-cuda.in --no-emit-package torch -o $(LOCKS)/packages.txt
	echo "$(TORCH)" | $(LOCK) - --constraints $(LOCKS)/packages.txt -o $(LOCKS)/torch-cuda.txt \
		$$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' $(LOCKS)/packages.txt)
	$(LOCK) requirements/build.in -o $(LOCKS)/build.txt

# Looks up known vulnerabilities of all that is locked. Says so, and fails, where the database cannot be reached.
audit: $(VENV)/.installed-dev
	$(BIN)/python -m requirements.audit

# Lists what is locked for the CPU as CycloneDX, in build/sbom.json. An image has a list of what it really holds.
sbom: $(VENV)/.installed-dev
	mkdir -p build
	cat requirements/packages.txt requirements/torch-cpu.txt | $(BIN)/cyclonedx-py requirements --pyproject pyproject.toml \
		--output-reproducible --output-file build/sbom.json -

# Plants sixty defects, one at a time, in a copy of the tree, and prints which of them no test finds: an hour and more.
# make mutants ARGS=--quick tries no more tests than make test runs.
mutants: $(VENV)/.browser $(VENV)/.node
	$(BIN)/python -m tests.mutants $(ARGS)

# Measures the service and its peers, each in an environment of its own under .bench/, and writes docs/performance.md.
# Options: make bench ARGS="--only floor,start". Nothing else should run on the machine meanwhile.
bench: $(VENV)/.installed-dev
	TORCH_INDEX="$(TORCH_INDEX)" $(BIN)/python -m benchmarks $(ARGS)

# Writes the pages that the code knows, and builds the site in build/site; a broken link or anchor fails.
docs: $(VENV)/.installed-dev
	PYTHONPATH=. $(BIN)/python docs/reference.py
	$(BIN)/mkdocs build --strict --quiet

# Draws its pictures, trains and evaluates the demo model anew: under an hour on two cores.
demo-model: $(VENV)/.installed-dev
	$(BIN)/python -m training.train
	$(BIN)/python -m training.evaluate

clean:
	rm -rf $(VENV) $(NODE_TESTS:=/node_modules)
