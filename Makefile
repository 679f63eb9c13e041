# Everything a fresh machine needs: Python 3.11 or newer with pip and venv, and make.
PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 10
EXTRAS ?= dev,docs,tensorflow,demo,jax,dicom,openvino,litert,onnx,bioimageio,serve,tune,cloud,ray
BIN := $(VENV)/bin

# Over all cores, file by file. When a worker dies the run ends: pytest-xdist waits forever for tests
# that it has given to a dead one.
SHARED_OUT := -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

TYPES := types-linux types-win32 types-darwin
LIBRARIES := src/flexseg/inference/pictures/assets/niivue.umd.js src/flexseg/export/page/onnxruntime-web.wasm.gz

.PHONY: setup demo dist docs docs-pictures test test-all services test-services test-long test-browser test-benchmarks test-install fuzz kills lint $(TYPES) bench benchmark-guard clean

setup: $(VENV)/.installed $(LIBRARIES)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@

# Pages for browsers need them; everything else works where there is no npm.
$(LIBRARIES): tools/browser_libraries.py
	$(PYTHON) tools/browser_libraries.py --optional

# The source archive and the wheel of a release, which need no npm any more.
dist: $(VENV)/.installed
	$(PYTHON) tools/browser_libraries.py
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

# The site, in build/site; every warning and every link that leads nowhere is an error.
docs: setup
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python -m sphinx -W --keep-going -q -b html docs build/site

# The pictures of README and site, which are committed; needs what test-browser needs.
docs-pictures: setup services
	cd tests/browser && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python tools/docs_pictures.py

demo: setup
	$(BIN)/flexseg demo --output demo

test: setup lint
	$(BIN)/python -m pytest -m "not slow and not long" $(SHARED_OUT)

test-all: setup lint
	$(BIN)/python -m pytest $(SHARED_OUT)

# Chromium, Node.js and PostgreSQL, as root on Debian.
services:
	tools/services.sh

# What needs services or takes long.
test-services: test-long test-browser test-benchmarks test-install

# Azurite comes from npm.
test-long: setup services
	cd tests/storage && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	$(BIN)/python -m pytest -m "long and not slow" $(SHARED_OUT)

# axe-core and the driver come from npm.
test-browser: setup services
	cd tests/browser && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python tests/browser/make_reports.py tests/browser/build
	$(BIN)/python tests/browser/make_viewers.py tests/browser/viewers
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python tests/browser/make_pages.py tests/browser/pages
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/python tests/browser/make_serve.py tests/browser/serving
	cd tests/browser && PYTHON=$(abspath $(BIN)/python) TF_CPP_MIN_LOG_LEVEL=3 node --test

# A release is built, installed into a new environment and used; and every extra can be installed on
# other systems, by their package indexes.
test-install: setup
	rm -rf build/release
	$(BIN)/python -m build --outdir build/release
	$(BIN)/python tools/check_install.py build/release
	$(BIN)/python tools/check_resolution.py

# Each script at its smallest size: do they still run?
test-benchmarks: setup
	$(BIN)/python benchmarks/smoke.py

# 10 000 damaged files and 10 000 absurd configs through all readers; goes on where it has stopped.
fuzz: setup
	$(BIN)/python tests/fuzz/run.py --minutes $(MINUTES) --folder fuzz-results

# 100 kills of all commands that write, and each of them on a disk that becomes full.
kills: setup
	$(BIN)/python tests/fuzz/kills.py --minutes $(MINUTES) --folder fuzz-results
	$(BIN)/python tests/fuzz/full_disk.py

lint: setup
	$(BIN)/ruff check src tests benchmarks tools docs examples
	$(BIN)/ruff format --check src tests benchmarks tools docs examples
	$(MAKE) --no-print-directory -j3 $(TYPES)

# Of each system; each is the work of one core.
$(TYPES): types-%: setup
	$(BIN)/mypy --platform $* --cache-dir .mypy_cache/$*

bench: setup
	$(BIN)/python benchmarks/train_throughput.py
	$(BIN)/python benchmarks/memory.py

# Minutes: fails when a ratio to a reference is more than 15 % below benchmarks/recorded.json.
benchmark-guard: setup
	$(BIN)/python benchmarks/guard.py

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
