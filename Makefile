# davy: what people run by hand. `make help` lists it; .ci/run is what must pass before a merge.

CARGO ?= cargo
# Extra flags for every cargo call, such as --locked or --offline.
CARGO_FLAGS ?=
# The interpreter that `make bench` asks for scipy.
PYTHON ?= python3
# Executions of each fuzz target, and which targets; all unless named.
RUNS ?= 100000
TARGET ?=

.DEFAULT_GOAL := help
.PHONY: help build demo demo-healthy test fmt lint docs deny bench sim fuzz packages-build packages-test packages-bench

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: packages-build ## the release binary, target/release/davy
	$(CARGO) build --release $(CARGO_FLAGS)

demo: packages-build ## two real services, a bad canary, and davy's verdict on it
	$(CARGO) run --release --quiet $(CARGO_FLAGS) -- demo

demo-healthy: packages-build ## the same with a healthy canary
	$(CARGO) run --release --quiet $(CARGO_FLAGS) -- demo --healthy

test: packages-test ## every test; installs the Debian and Python packages that are missing
	$(CARGO) test $(CARGO_FLAGS)

fmt: ## rewrites the sources in the house style
	$(CARGO) fmt

lint: packages-build ## formatting and lints, warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets --all-features $(CARGO_FLAGS) -- -D warnings

docs: packages-build ## the documentation, broken links are errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps $(CARGO_FLAGS)

deny: ## licences, sources and banned crates of the dependencies (needs cargo-deny)
	$(CARGO) deny check bans licenses sources

bench: packages-bench ## every bench with its bounds, some minutes; PYTHON= an interpreter with scipy
	$(CARGO) bench $(CARGO_FLAGS) --bench mann_whitney -- python=$(PYTHON)
	$(CARGO) bench $(CARGO_FLAGS) --bench kayenta
	$(CARGO) bench $(CARGO_FLAGS) --bench looks
	$(CARGO) bench $(CARGO_FLAGS) --bench null_paths
	$(CARGO) bench $(CARGO_FLAGS) --bench fleet
	$(CARGO) bench $(CARGO_FLAGS) --bench fleet -- state=boundary
	$(CARGO) bench $(CARGO_FLAGS) --bench power
	$(CARGO) bench $(CARGO_FLAGS) --bench ingest

sim: packages-build ## the simulations of false alarms and power, an hour or less
	$(CARGO) run --release --quiet $(CARGO_FLAGS) -- simulate

fuzz: ## every decoder with RUNS= executions of made-up bytes (100000), or one: TARGET=otlp_json
	@tools/debian-packages fuzz
	tools/fuzz $(RUNS) $(TARGET)

packages-build:
	@tools/debian-packages build

packages-test:
	@tools/debian-packages test
	@tools/python-packages

packages-bench:
	@tools/debian-packages bench
