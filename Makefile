# `make` lists the targets. Needs git, make and python3; everything else is set up below .tools
# and .venv from the package registry, as the lock says.
.DEFAULT_GOAL := help
.PHONY: help setup run test coverage test-resume test-review test-faults test-kubeflow test-containers test-flink test-networks test-tfjs audit wheel test-wheel bench docs check format clean lock

UV_VERSION := 0.13.9
UV := .tools/bin/uv
RUN := $(UV) run --locked --no-sync

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV):
	python3 -m venv .tools
	.tools/bin/python -m pip install --quiet uv==$(UV_VERSION)

.venv/.synced: $(UV) pyproject.toml uv.lock .python-version
	$(UV) sync --locked
	@touch $@

setup: .venv/.synced ## install the locked packages into .venv

run: setup ## the whole pipeline on the embedded digits: blessed and pushed in minutes
	$(RUN) inception-finetune run --config digits

# Two processes; the tests of a file stay in one, for what they share.
test: setup ## all default tests
	$(RUN) pytest -n 2 --dist loadfile

coverage: setup ## all default tests, and which lines they run: build/coverage/html (1.5 times as long)
	$(RUN) pytest --cov --cov-report=term --cov-report=html

test-resume: setup ## training killed at 30 random points ends with the same weights (20 minutes)
	$(RUN) pytest -m resume -s

# With Debian's faketime; as root it is installed where it is missing.
test-faults: setup ## all that can break, into docs/reliability.md (30 minutes; FUZZ_INPUTS=N MUTATED=N CRASHES=N RUNS=N)
	command -v faketime >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends faketime)
	REWRITE_REPORT=1 $(RUN) pytest -m "faults or not faults" tests/faults

# With Debian's chromium; as root it is installed where it is missing.
test-review: setup ## the review page in headless Chromium, comparisons, drift, the notebook, the first hour (6 minutes)
	command -v chromium >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core)
	$(RUN) pytest -m review

test-kubeflow: setup ## the Kubeflow package, replayed task by task beside a local run (20 minutes)
	$(RUN) pytest -m kubeflow -s tests/kubeflow

# With Debian's podman, runc and debootstrap; as root they are installed where they are missing.
CONTAINERS := podman runc debootstrap
test-containers: setup ## the image, built by a real engine, and the package in its containers (6 minutes, 8 more at first)
	which $(CONTAINERS) >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends $(CONTAINERS) netavark)
	$(RUN) pytest -m containers -s tests/kubeflow/containers

# With Maven and a Java 11 or newer (Debian: maven, default-jre-headless).
build/flink/jars: tests/flink/pom.xml
	mvn --quiet --batch-mode --file $< dependency:copy-dependencies -DincludeScope=runtime \
	  -DoutputDirectory=$(CURDIR)/$@
	@touch $@

test-flink: setup build/flink/jars ## the pipeline on a real Apache Flink, and killed TaskManagers (15 minutes)
	$(RUN) pytest -m flink tests/flink -s

test-networks: setup ## every network through the whole pipeline (9 minutes)
	$(RUN) pytest -m networks -s

# With Debian's Node.js and npm; as root they are installed where they are missing.
TFJS := tests/components/export/javascript
build/tfjs/node_modules: $(TFJS)/package.json $(TFJS)/package-lock.json
	which node npm >/dev/null || (apt-get update -qq && apt-get install -y -qq --no-install-recommends nodejs npm)
	mkdir -p build/tfjs && cp $^ build/tfjs && npm ci --prefix build/tfjs --no-audit --no-fund --silent
	@touch $@

test-tfjs: setup build/tfjs/node_modules ## the export for TensorFlow.js, asked by TensorFlow.js itself (1 minute)
	$(RUN) pytest -m tfjs -s tests/components/export

# What to install where this checkout is not: the packages of the lock, without their dependencies'
# own bounds, which exclude one another (see [tool.uv] in pyproject.toml), then the wheel.
wheel: setup ## build/dist: the wheel, and requirements.txt (or requirements-predict.txt) to install it with
	rm -rf build/dist
	$(UV) build --quiet --wheel --out-dir build/dist
	$(UV) export --locked --quiet --no-dev --no-hashes --no-emit-project --output-file build/dist/requirements.txt
	$(UV) export --locked --quiet --only-group predict --no-hashes --output-file build/dist/requirements-predict.txt

test-wheel: wheel ## the wheel in an empty environment, beside PyPI's kubeflow, runs digits (5 minutes)
	$(RUN) pytest -m wheel -s

bench: setup ## speed of each step as paired ratios: build/bench.json and build/bench.png
	$(RUN) python -m benchmarks

# In an environment of its own: MkDocs reads the sources and imports nothing of them.
docs: $(UV) ## build/site: these pages and the API reference; broken links are errors (1 minute)
	NO_MKDOCS_2_WARNING=1 $(UV) run --locked --isolated --only-group docs mkdocs build --strict

check: setup ## formatting, lint, types and which package may import which
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(RUN) lint-imports --no-logo --no-cache

audit: setup ## known vulnerabilities of the locked packages; needs pypi.org (see SECURITY.md)
	@mkdir -p build
	$(UV) export --locked --quiet --no-hashes --no-emit-project --output-file build/locked.txt
	$(RUN) pip-audit --strict --no-deps --disable-pip --requirement build/locked.txt

format: setup ## mend what ruff can mend
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

lock: $(UV) ## resolve uv.lock anew
	$(UV) lock

clean: ## remove what runs have made (not the installed packages)
	rm -rf build
