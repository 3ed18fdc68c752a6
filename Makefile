# make demo    set everything up and run the whole job on drawn faces
# make test    set everything up and run the tests
# make test SLOW=1   with those that take long: clusters, killed processes, other backends
# make check   lint, format, types
# make web     bring onnxruntime-web from npm, for expressions read in the browser itself (needs Node, as does the next)
# make axe     bring axe-core from npm, with which tests check that everybody can use the page
# make bench   the benchmarks behind the numbers in README and docs (make bench DATA=path/to/FER2013 MODEL=model.onnx)
# make dist    wheel and source archive, tried in a clean environment
# make clean   remove what these made

PYTHON ?= python3
VENV ?= .venv
DATA ?= FER2013
MODEL ?= model.onnx
# For two cores. Slow tests wait for processes more than they compute.
WORKERS ?= $(if $(SLOW),3,2)
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PIP_NO_PYTHON_VERSION_WARNING = 1

.PHONY: demo test check web axe bench dist clean

demo: $(VENV)/.train
	$(BIN)/mien demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(if $(SLOW),-m "not large and not gpu")

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

NPM := npm install --no-save --no-audit --no-fund --ignore-scripts --loglevel=error
ORT_WEB_VERSION := 1.30.0
ORT_WEB := src/mien/server/static/page/ort
ORT_WEB_FILES := ort.wasm.min.mjs ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm
AXE_VERSION := 4.14.1

web: $(ORT_WEB)/.version-$(ORT_WEB_VERSION)

# Put together in build/ and moved at the end: a broken download leaves what was there before.
$(ORT_WEB)/.version-$(ORT_WEB_VERSION):
	@command -v npm > /dev/null || { echo "make web needs npm, which comes with Node.js"; exit 1; }
	rm -rf build/ort && mkdir -p build/ort/files
	$(NPM) --prefix build/ort onnxruntime-web@$(ORT_WEB_VERSION)
	cp $(addprefix build/ort/node_modules/onnxruntime-web/dist/,$(ORT_WEB_FILES)) build/ort/files/
	cp src/mien/server/static/licences/onnxruntime-web.txt build/ort/files/LICENSE
	touch build/ort/files/$(@F)
	rm -rf $(ORT_WEB) && mv build/ort/files $(ORT_WEB)
	rm -rf build/ort

axe: build/axe/.version-$(AXE_VERSION)

build/axe/.version-$(AXE_VERSION):
	@command -v npm > /dev/null || { echo "make axe needs npm, which comes with Node.js"; exit 1; }
	mkdir -p build/axe
	$(NPM) --prefix build/axe axe-core@$(AXE_VERSION)
	touch $@

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/loading.py speed --data $(DATA)
	$(BIN)/python benchmarks/loading.py faces --data $(DATA)
	$(BIN)/python benchmarks/loading.py memory
	$(BIN)/python benchmarks/loading.py memory --train
	$(BIN)/python benchmarks/augmentation.py
	$(BIN)/python benchmarks/training.py $(DATA)
	$(BIN)/python benchmarks/recipes.py
	$(BIN)/python benchmarks/classifying.py --data $(DATA)
	$(BIN)/python benchmarks/explaining.py $(DATA)
	$(BIN)/python benchmarks/importing.py
	$(BIN)/python benchmarks/detecting.py
	$(BIN)/python benchmarks/detection_quality.py
	$(BIN)/python benchmarks/video.py speed --model $(MODEL)
	$(BIN)/python benchmarks/video.py memory --model $(MODEL)
	test -d build/faces10k || $(BIN)/mien data sample build/faces10k --count 10000 --size 96 --channels 3
	$(BIN)/python benchmarks/batch.py engines --pictures build/faces10k
	$(BIN)/python benchmarks/batch.py workers --pictures build/faces10k
	$(BIN)/python benchmarks/batch.py scale
	$(BIN)/python benchmarks/distributed_training.py $(DATA)

dist: $(VENV)/.dev
	@test -d $(ORT_WEB) || echo "without onnxruntime-web: 'make web' first puts it in, for the page that reads in the browser"
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv --clear dist/.clean
	dist/.clean/bin/python -m pip --disable-pip-version-check --quiet install dist/*.whl
	cd dist && .clean/bin/mien info && .clean/bin/python -c "import mien; print(mien.EXPRESSIONS)"
	du -sh dist/.clean && rm -rf dist/.clean
	ls -l dist

clean:
	rm -rf $(VENV) $(ORT_WEB) dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis

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
