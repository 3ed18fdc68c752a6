# make demo    set everything up and run the whole job on drawn faces
# make test    set everything up and run the tests
# make check   lint, format, types
# make bench   the benchmarks behind the numbers in README and docs (make bench DATA=path/to/FER2013 MODEL=model.onnx)
# make dist    wheel and source archive, tried in a clean environment
# make clean   remove what these made

PYTHON ?= python3
VENV ?= .venv
DATA ?= FER2013
MODEL ?= model.onnx
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PIP_NO_PYTHON_VERSION_WARNING = 1

.PHONY: demo test check bench dist clean

demo: $(VENV)/.train
	$(BIN)/mien demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/loading.py speed --data $(DATA)
	$(BIN)/python benchmarks/loading.py faces --data $(DATA)
	$(BIN)/python benchmarks/loading.py memory
	$(BIN)/python benchmarks/loading.py memory --train
	$(BIN)/python benchmarks/augmentation.py
	$(BIN)/python benchmarks/training.py $(DATA)
	$(BIN)/python benchmarks/recipes.py
	$(BIN)/python benchmarks/classifying.py --data $(DATA)
	$(BIN)/python benchmarks/importing.py
	$(BIN)/python benchmarks/detecting.py
	$(BIN)/python benchmarks/detection_quality.py
	$(BIN)/python benchmarks/video.py speed --model $(MODEL)
	$(BIN)/python benchmarks/video.py memory --model $(MODEL)

dist: $(VENV)/.dev
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv --clear dist/.clean
	dist/.clean/bin/python -m pip --disable-pip-version-check --quiet install dist/*.whl
	cd dist && .clean/bin/mien info && .clean/bin/python -c "import mien; print(mien.EXPRESSIONS)"
	du -sh dist/.clean && rm -rf dist/.clean
	ls -l dist

clean:
	rm -rf $(VENV) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mien needs Python 3.11 or newer; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade pip
	@touch $@

$(VENV)/.train: $(VENV)/.python pyproject.toml
	@echo "Installing mien and what it trains with into $(VENV) (about 1 GB, a minute or two) ..."
	$(PIP) install --editable '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(PIP) install --editable '.[train,dev]'
	@touch $@
