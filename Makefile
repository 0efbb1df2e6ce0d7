# `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# rustup's directory isn't always in PATH, in a shell of sudo for one.
CARGO ?= $(shell command -v cargo || echo "$$HOME/.cargo/bin/cargo")
BINARY := target/release/gatewire
PACKAGES := mosquitto mosquitto-clients socat openssl python3 python3-venv gcc libc6-dev tinyproxy-bin iproute2
VENV := tests/.venv
FUZZ_SECONDS ?= 60
# apt-get wants root; on a desktop that is what sudo is for.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help
help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## the binary, as it is installed: target/release/gatewire
	$(CARGO) build --release --locked

.PHONY: demo
demo: tools build ## the main job on this machine, with mosquitto in the place of IoT Core (DEMO_SECONDS=15)
	packaging/demo $(BINARY)

.PHONY: test
test: tools $(VENV)/.done lint unit deny doc ## everything that must pass

.PHONY: unit
unit: tools $(VENV)/.done ## the tests alone
	$(CARGO) test --locked

.PHONY: soak
soak: tools ## gatewire killed at random moments for as long as you like (GATEWIRE_SOAK_KILLS=5000)
	GATEWIRE_SOAK_KILLS=$${GATEWIRE_SOAK_KILLS:-5000} $(CARGO) test --locked --test crash -- --nocapture

.PHONY: lint
lint: ## formatting, clippy, the systemd unit, the message catalogue
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib -- --cfg fuzzing -D warnings # what the fuzzers call is built for them alone
	packaging/verify-unit
	packaging/verify-catalog

.PHONY: deny
deny: ## licences, bans and sources of all crates
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-deny
	$(CARGO) deny --locked check licenses bans sources

.PHONY: doc
doc: ## the documentation of the code, without warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items --quiet

.PHONY: fuzz
fuzz: ## the fuzzers, each for FUZZ_SECONDS=60 (a stable compiler will do)
	@$(MAKE) --no-print-directory tools PACKAGES=g++
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-fuzz
	@for target in $$($(CARGO) fuzz list); do \
	    mkdir -p fuzz/found/$$target; \
	    $(CARGO) fuzz run --sanitizer none $$target fuzz/found/$$target fuzz/corpus/$$target -- \
	        -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=1024; \
	done

.PHONY: bench
bench: tools build ## memory, CPU, wake-ups and disk writes, measured on this machine
	python3 benches/run $(BINARY)

.PHONY: tools
tools: # what the tests and the demo need beside Rust, which Debian has only too old
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: https://rustup.rs tells how to install it" >&2; exit 1; }
	@missing=(); for package in $(PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing+=($$package); \
	done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	    echo "installing $${missing[*]}"; \
	    $(SUDO) apt-get update -q; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$${missing[@]}"; \
	fi

# The AWS SDK for Python is the other end of some tests.
$(VENV)/.done: tests/python/requirements.txt
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
	touch $@

.PHONY: clean
clean: ## remove what was built
	$(CARGO) clean
	rm -rf $(VENV) certs/dev
