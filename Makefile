# `make help` lists what there is.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# rustup's directory isn't always in PATH, in a shell of sudo for one. target/rust is there where no Rust is that is new
# enough: packaging/rust.
export PATH := $(CURDIR)/target/rust/bin:$(CURDIR)/target/tools/bin:$(PATH):$(HOME)/.cargo/bin
CARGO ?= cargo
BINARY := target/release/gatewire
# What building, the demo and the tests need from Debian; cargo fetches crates over HTTPS.
BUILDING := gcc libc6-dev ca-certificates
DEMO := $(BUILDING) mosquitto mosquitto-clients socat openssl python3
PACKAGES := $(DEMO) python3-venv tinyproxy-bin apache2-bin iproute2 jq nodejs groff curl systemd tmux
# Keys in tokens: SoftHSM, and a TPM in software.
PACKAGES += softhsm2 opensc swtpm libtpm2-pkcs11-1
# A Node.js that isn't Debian's may have brought it.
PACKAGES += $(if $(shell command -v npm),,npm)
VENV := tests/.venv
# Those that are in use. Node-RED 5 wants a newer Node.js than Debian's.
NODE_RED_5 := 5.0.7
NODE_RED_4 := 4.1.8
NODE_RED_3 := 3.1.15
NODE_22 = node-linux-$(shell node -p process.arch)@22
AEDES := 0.51.3
NODE_REDS := target/node-red-5/$(NODE_RED_5) target/node-red-4/$(NODE_RED_4) target/node-red-3/$(NODE_RED_3)
# The other ends of some tests: the AWS SDK for Python, the AWS CLI, moto, Node-RED, a broker that runs in Node.js, Prometheus.
OTHERS := $(VENV)/.done $(NODE_REDS) target/aedes/$(AEDES) target/prometheus/.done
# For packages, and for those of other machines: compilers for C, and qemu to try them.
PACKAGING := $(BUILDING) dpkg-dev lintian python3
CROSS := gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross
CROSS += gcc-arm-linux-gnueabi libc6-dev-armel-cross
EMULATION := qemu-user-static mmdebstrap mosquitto openssl
SYSTEMD := mmdebstrap systemd-container
ARCHITECTURE := $(shell dpkg --print-architecture 2>/dev/null)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)-1
FUZZ_SECONDS ?= 60
# Most tests wait for somebody else most of their time.
TEST_THREADS ?= $(shell echo $$(( 3 * $$(nproc) )))
SEEDS ?= 1000
# apt-get wants root; on a desktop that is what sudo is for.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: help
help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## the binary, as it is installed: target/release/gatewire
	@$(MAKE) --no-print-directory tools PACKAGES="$(BUILDING)"
	$(CARGO) build --release --locked

.PHONY: man
man: ## manual pages and shell completions: target/man, target/completions
	@$(MAKE) --no-print-directory tools PACKAGES="$(BUILDING)"
	$(CARGO) run --quiet --locked --example man -- target/man target/completions

.PHONY: demo
demo: ## the main job on this machine, with mosquitto in the place of IoT Core (DEMO_SECONDS=15)
	@$(MAKE) --no-print-directory build BUILDING="$(DEMO)"
	packaging/demo $(BINARY)

.PHONY: test
test: tools lint doc deny $(OTHERS) unit ## everything that must pass

.PHONY: unit
unit: tools $(OTHERS) ## the tests alone
	RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --locked

.PHONY: soak
soak: tools ## gatewire killed at random moments for as long as you like (GATEWIRE_SOAK_KILLS=5000)
	GATEWIRE_SOAK_KILLS=$${GATEWIRE_SOAK_KILLS:-5000} $(CARGO) test --locked --test crash -- --nocapture

.PHONY: simulate
simulate: tools ## the whole daemon in virtual time, through more faults than years of service bring (SEEDS=1000)
	GATEWIRE_SEEDS=$(SEEDS) $(CARGO) test --locked --profile simulate --lib simulation::tests::nothing -- --nocapture

.PHONY: fleet
fleet: tools target/picture/.done ## up to 100,000 gateways against the limits of an account: the figures of docs/fleet.md
	GATEWIRE_FLEET=$(CURDIR)/target/fleet $(CARGO) test --locked --profile simulate --lib simulation::fleet::figures -- \
	    --ignored --nocapture
	target/picture/bin/python src/simulation/fleet/picture target/fleet docs/fleet.png

.PHONY: planted
planted: tools ## whether the simulation finds the faults that are planted in a copy of the sources (tests/simulation/planted/)
	CARGO=$(CARGO) SEEDS=100 tests/simulation/plant

.PHONY: lint
lint: ## formatting, clippy, the systemd unit, the message catalogue
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --lib -- --cfg fuzzing -D warnings # what the fuzzers call is built for them alone
	packaging/verify-unit
	packaging/verify-catalog

.PHONY: deny
deny: ## licences, bans and sources of all crates
	@# Unoptimised it is there in half the time, and as fast with what there is to do here.
	@$(CARGO) deny --version >/dev/null 2>&1 || \
	    $(CARGO) install --locked --quiet --debug --root target/tools cargo-deny
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

.PHONY: deb
deb: ## a Debian package for this machine: target/deb/
	@$(MAKE) --no-print-directory tools PACKAGES="$(PACKAGING)"
	packaging/deb
	lintian --allow-root --fail-on error,warning target/deb/gatewire_$(VERSION)_$(ARCHITECTURE).deb

.PHONY: deb-arm64 deb-armhf deb-armv6
deb-arm64 deb-armhf deb-armv6: deb-%: ## for a 64-bit Pi; for a 32-bit system from the Pi 2 on; for the Pi 1 and the Zero
	@$(MAKE) --no-print-directory tools PACKAGES="$(PACKAGING) $(CROSS)"
	packaging/deb $*
	lintian --allow-root --fail-on error,warning \
	    $(if $(filter armv6,$*),target/deb/armv6/gatewire_$(VERSION)_armhf.deb,target/deb/gatewire_$(VERSION)_$*.deb)

.PHONY: cross-arm64 cross-armhf cross-armv6
cross-arm64 cross-armhf cross-armv6: cross-%: ## the binary alone, for these: target/cross/
	@$(MAKE) --no-print-directory tools PACKAGES="$(CROSS)"
	packaging/binary $* target/cross/gatewire-$*

.PHONY: test-arm64 test-armhf test-armv6
test-arm64 test-armhf test-armv6: test-%: deb-% ## its package tried by qemu, against mosquitto
	@$(MAKE) --no-print-directory tools PACKAGES="$(PACKAGES) $(EMULATION)"
	CARGO=$(CARGO) tests/emulated $* \
	    $(if $(filter armv6,$*),target/deb/armv6/gatewire_$(VERSION)_armhf.deb,target/deb/gatewire_$(VERSION)_$*.deb)
	$(if $(filter arm64,$*),tests/installed-emulated target/deb/gatewire_$(VERSION)_arm64.deb)

.PHONY: test-systemd
test-systemd: deb ## the package installed in containers with a real systemd, upgraded, rebooted, purged; two devices from one image
	@$(MAKE) --no-print-directory tools PACKAGES="$(SYSTEMD) mosquitto openssl jq"
	tests/systemd/run target/deb/gatewire_$(VERSION)_$(ARCHITECTURE).deb
	tests/systemd/make-root
	binary=$$($(CARGO) test --locked --no-run --test golden_image_boot --message-format=json | \
	    jq -r 'select(.target.name == "golden_image_boot").executable // empty'); \
	$(SUDO) env GATEWIRE_PACKAGE=$(CURDIR)/target/deb/gatewire_$(VERSION)_$(ARCHITECTURE).deb "$$binary" --ignored

.PHONY: reproducible
reproducible: ## two packages of this commit, made in two places, are the same
	@$(MAKE) --no-print-directory tools PACKAGES="$(PACKAGING)"
	@$(CARGO) deb --version >/dev/null 2>&1 || $(CARGO) install --locked --quiet cargo-deb
	packaging/reproducible

.PHONY: bench
bench: tools build ## memory, CPU, latency, wake-ups and disk writes, beside the bare program on rumqttc and mosquitto's bridge
	$(CARGO) build --release --locked --manifest-path benches/floor/Cargo.toml --target-dir target/floor
	python3 benches/run $(BINARY) target/floor/release/floor
	python3 benches/bridge $(BINARY) 5000

.PHONY: bytes
bytes: tools build ## what gateways of four kinds send and receive in a day, by default and with what makes it less
	python3 benches/bytes $(BINARY)

.PHONY: tools
tools: # what the tests and the demo need: Debian packages, and Rust
	@missing=(); for package in $(PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing+=($$package); \
	done; \
	if [ $${#missing[@]} -gt 0 ]; then \
	    echo "installing $${missing[*]}"; \
	    $(SUDO) apt-get update -q; \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$${missing[@]}"; \
	fi
	@packaging/rust

$(VENV)/.done: tests/python/requirements.txt | tools
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
	touch $@

target/node-red-5/$(NODE_RED_5): | tools
	npm install --silent --no-save --omit=dev --prefix $(@D) node-red@$(NODE_RED_5) $(NODE_22)
	touch $@

target/node-red-4/$(NODE_RED_4) target/node-red-3/$(NODE_RED_3): | tools
	npm install --silent --no-save --omit=dev --prefix $(@D) node-red@$(@F)
	touch $@

target/aedes/$(AEDES): | tools
	npm install --silent --no-save --omit=dev --prefix target/aedes aedes@$(AEDES)
	touch $@

# It draws; nothing else needs it.
target/picture/.done: | tools
	python3 -m venv target/picture
	target/picture/bin/pip install --quiet --disable-pip-version-check matplotlib==3.10.7
	touch $@

# Debian's, unpacked: installed, they would be started.
target/prometheus/.done: | tools
	mkdir -p target/prometheus
	cd target/prometheus && for try in 1 2; do \
	    apt-get -qq -o APT::Sandbox::User= download prometheus prometheus-node-exporter && break; \
	    $(SUDO) apt-get -q update; \
	done && for package in *.deb; do dpkg-deb -x "$$package" .; rm "$$package"; done
	touch $@

.PHONY: clean
clean: ## remove what was built
	$(CARGO) clean
	rm -rf $(VENV) certs/dev
