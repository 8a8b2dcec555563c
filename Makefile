# What one does here. Every target that needs a .venv prepares it first: hashed requirements, then this project.

# The first of these that is a Python we can use; `make PYTHON=/path/to/python3.12` names another.
PYTHON = python3 python3.13 python3.12 python3.11
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input install
UV_VERSION := 0.13.9

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

# Programs and schemas of the tests that no wheel has. Go checks its modules by their sums, Debian its packages by their
# signatures. Helm and helm-unittest are made of the same modules, so that most of both is compiled once.
TOOLS := helm helm-unittest actionlint prometheus crds
GO_helm := helm.sh/helm/v3@v3.21.3
GO_helm-unittest := github.com/helm-unittest/helm-unittest@v1.1.2
GO_actionlint := github.com/rhysd/actionlint@v1.7.12
CRDS_keda := github.com/kedacore/keda/v2@v2.18.1 config/crd/bases/keda.sh_scaledobjects.yaml
CRDS_prometheus := github.com/prometheus-operator/prometheus-operator@v0.85.0 \
	example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml \
	example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml

# The size of the download of a fresh .venv, for those who wait.
MEGABYTES_demo := 390
MEGABYTES_dev := 480

# Processes of a test run: one per hardware thread, at most 8, for each may load TensorFlow (600 MB). `test` takes
# one more: tests on Kafka wait for others most of the time.
PROCESSES := $(shell cores=$$(nproc); echo $$((cores < 8 ? cores : 8)))
PYTEST := $(BIN)/python -m pytest --dist worksteal

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo check test bench bench-state bench-refresh bench-rules bench-costs quality chaos soak lint structure format reference dashboards \
	pictures requirements tools images image-test sbom audit version clean


help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

# .venv/.dev has all that .venv/.demo has: who ran the tests before need not install for the demo.
demo: $(if $(wildcard .venv/.dev),.venv/.dev,.venv/.demo) ## real clicks in, live recommendations out; KAFKA=host:port uses a Kafka of yours
	@$(BIN)/python deploy/demo/demo.py

check: lint ## lint, then all tests that need no broker and are not slow; ARGS="-k name" chooses
	@$(PYTEST) -n $(PROCESSES) -m "not broker and not slow" --hypothesis-profile quick --durations 10 --durations-min 0.5 $(ARGS)

test: tools lint ## lint, then all tests, on a real Kafka too; ARGS="-k name" chooses
	@test -n "$$NEXTCLICK_TEST_KAFKA" || $(BIN)/python -m deploy.kafka --fetch || true
	@$(BIN)/python -m deploy.registry --fetch || true
	@$(PYTEST) -n $$(($(PROCESSES) + 1)) --durations 20 --durations-min 1 $(ARGS)

bench: .venv/.dev ## one table of speed, latency and memory, on a real Kafka; ARGS=--quick for a smoke run
	@$(BIN)/python -m tests.benchmarks.bench $(ARGS)

bench-state: .venv/.dev ## what saving and recovering user states costs; ARGS=--quick for a smoke run
	@$(BIN)/python -m tests.benchmarks.bench_state $(ARGS)

bench-refresh: .venv/.dev ## a release adopted under load: latency, memory, rebuilding, refusals; ARGS=--quick for a smoke run
	@$(BIN)/python -m tests.benchmarks.bench_refresh $(ARGS)

bench-rules: .venv/.dev ## items, rules, purchases and lists on request: cost, memory, latency; ARGS=--quick for a smoke run
	@$(BIN)/python -m tests.benchmarks.bench_rules $(ARGS)

bench-costs: .venv/.dev ## the costs of `nextclick-worker size`, and the chart of larger catalogues, from the results of bench and bench-state
	@$(BIN)/python -m tests.benchmarks.costs

quality: .venv/.dev ## quality on public data by the published protocols, hours; ARGS="--only ml100k" for one of them
	@$(BIN)/python -m tests.quality.quality $(ARGS)

chaos: .venv/.dev ## crashes, freezes and outages at random under load; ROUNDS=100 SEED=n BROKERS=3, ARGS="--only 7" for one round
	@$(BIN)/python -m tests.broker.chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED)) $(if $(BROKERS),--brokers $(BROKERS)) $(ARGS)

soak: .venv/.dev ## two workers under a steady load: does memory, or anything else, grow with time; MINUTES=60
	@$(BIN)/python -m tests.benchmarks.soak $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

lint: .venv/.dev ## format, lint, types, import contracts
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted as above: run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

structure: .venv/.dev ## count files, rooms, imports, floors and circles; ARGS="--rev REV" counts another commit
	@$(BIN)/python -m tests.structure $(ARGS)

format: .venv/.dev ## rewrite the code as lint wants it, where that can be done by rule
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

reference: .venv/.dev ## write the tables of settings, options and metrics in the documents again, from the code
	@$(BIN)/python -m tests.documents

dashboards: .venv/.dev ## write the Grafana dashboards again from the code
	@$(BIN)/python -m deploy.grafana

pictures: .venv/.dev ## draw the panels of the dashboards from a real Prometheus, for deploy/README.md, minutes
	@$(BIN)/python -m tests.deploy.grafana.pictures

requirements: ## write the hashed requirement files again from pyproject.toml; ARGS=--upgrade moves every version
	@test -x build/uv/bin/uv || { $(find_python); "$$python" -m venv build/uv; }
	@build/uv/bin/python -m pip --quiet --disable-pip-version-check install uv==$(UV_VERSION)
	@$(call compile,dev,pyproject.toml --extra dev --group build $(ARGS))
	@$(call compile,demo,pyproject.toml --extra demo --group build $(AS_DEV))
	@$(call compile,trainer,pyproject.toml --extra trainer $(AS_DEV))
	@$(call compile,worker,pyproject.toml $(AS_DEV))
	@$(call compile,build,--group build $(AS_DEV))

tools: ## bring helm, actionlint and prometheus for the tests (needs Go and Debian's apt-get); a tool that fails is named
	@$(MAKE) --no-print-directory --keep-going $(TOOLS:%=build/tools/%) || true

images: ## build the images of worker and trainer with Docker; BASE=image:tag@digest is another base
	@for target in worker trainer; do \
		docker build --file deploy/docker/Dockerfile --target $$target --tag nextclick-$$target:$(VERSION) \
			--build-arg VERSION=$(VERSION) --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
			$(if $(BASE),--build-arg BASE=$(BASE)) . || exit 1; \
	done

image-test: ## build and run the images without a registry: a base by debootstrap, buildah as root (Debian); TARGETS=worker
	@TARGETS="$(TARGETS)" bash deploy/docker/test.sh

sbom: .venv/.dev ## write what the images contain of Python into build/sbom (CycloneDX)
	@mkdir -p build/sbom
	@for name in worker trainer; do \
		$(BIN)/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible \
			--output-file build/sbom/$$name.cdx.json deploy/requirements/$$name.txt || exit 1; \
		echo build/sbom/$$name.cdx.json; \
	done

audit: .venv/.dev ## look for known vulnerabilities of the hashed requirements; needs the vulnerability service of PyPI
	@mkdir -p build
	@for name in worker trainer; do \
		echo "deploy/requirements/$$name.txt"; \
		$(BIN)/pip-audit --strict --require-hashes --disable-pip --progress-spinner off \
			--requirement deploy/requirements/$$name.txt 2>build/audit.log && continue; \
		if grep -q '^Traceback' build/audit.log; then \
			echo "Not audited, PyPI's vulnerability service does not answer: $$(tail -1 build/audit.log)" >&2; \
		else \
			cat build/audit.log >&2; \
		fi; \
		exit 1; \
	done

version: ## print the version
	@echo $(VERSION)

clean: ## remove all that was made here: .venv, caches, Kafka's jars, figures
	@rm -rf .venv build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -prune -exec rm -rf {} +


.venv/.%: deploy/requirements/%.txt pyproject.toml $(BIN)/python
	@echo "Preparing .venv (first run: downloads about $(MEGABYTES_$*) MB)"
	@$(PIP) --require-hashes --only-binary :all: --requirement $<
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(BIN)/python:
	@$(find_python); "$$python" -m venv --clear .venv || \
	{ echo "$$python cannot make a .venv. On Debian and Ubuntu: apt-get install $$python-venv" >&2; exit 1; }


# Debian's package has the server and promtool. Downloading needs no root, but lists of packages, which only root may
# bring up to date.
build/tools/prometheus: | build/tools
	@command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || \
	{ echo "No prometheus and promtool: they come from Debian's package prometheus, and this is no Debian. Put both on the PATH" >&2; exit 1; }
	@cd build/tools && { timeout 3m apt-get download prometheus || { timeout 3m apt-get update && timeout 3m apt-get download prometheus; }; } >prometheus.log 2>&1 || \
	{ tail prometheus.log >&2; echo "No prometheus and promtool: apt-get cannot download Debian's package prometheus, see above." \
		"$$(test $$(id -u) = 0 || echo 'You are not root: have root run `apt-get update` and try again, or put both on the PATH')" >&2; exit 1; }
	@cd build/tools && dpkg-deb --extract prometheus_*.deb prometheus.partial && \
	mv prometheus.partial/usr/bin/promtool prometheus.partial/usr/bin/prometheus . && \
	rm -r prometheus.partial prometheus_*.deb

build/tools/crds: build/tools/go.work
	@rm -rf $@.partial && mkdir $@.partial
	@$(call copy,$(CRDS_keda)) && $(call copy,$(CRDS_prometheus))
	@rm -rf $@ && mv $@.partial $@

# Not optimised: it runs for milliseconds and compiles for minutes (helm: two on two cores, once per machine).
build/tools/%: build/tools/go.work
	@echo "Compiling $(GO_$*)"
	@cd build/tools && go build -gcflags='all=-N -l' -ldflags='-s -w' -o $* $(firstword $(subst @, ,$(GO_$*)))/cmd/$* 2>$*.log || \
	{ tail $*.log >&2; exit 1; }
	@touch $@

# One workspace: one version of each module for all programs.
build/tools/go.work: Makefile | build/tools
	@command -v go >/dev/null || { echo "Go brings helm, helm-unittest, actionlint and definitions: no go on the PATH" >&2; exit 1; }
	@rm -f $@ $@.sum
	@cd build/tools && go work init $(foreach module,$(GO_helm) $(GO_helm-unittest) $(GO_actionlint),"$$($(call folder,$(module)))")

build/tools:
	@mkdir -p $@


# The folder with the source of the Go module $(1), and a copy of the files after the module's name.
folder = go mod download -json $(1) | sed -n 's/.*"Dir": "\(.*\)".*/\1/p'
copy = cd "$$($(call folder,$(firstword $(1))))" && install -m 644 $(wordlist 2,9,$(1)) $(abspath build/tools/crds.partial)


# The first usable of $(PYTHON) as the shell variable `python`.
define find_python
for python in $(PYTHON) ""; do \
	"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && break; \
done; \
if test -z "$$python"; then \
	echo "Nextclick needs Python 3.11, 3.12 or 3.13 (TensorFlow has no build for newer ones)." >&2; \
	echo "None of these is one: $(PYTHON). Install one, or name it: make PYTHON=/path/to/python3.12" >&2; \
	exit 1; \
fi
endef

AS_DEV := --constraint deploy/requirements/dev.txt --upgrade

# $(1).txt from the sources and options $(2): one file for all systems and, where it can be,
# one version for all Pythons (types and figures differ between numpy's). No addresses.
define compile
echo "deploy/requirements/$(1).txt"; \
build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-annotate \
	--custom-compile-command "make requirements" --no-emit-package nextclick $(2) \
	--output-file deploy/requirements/$(1).txt
endef
