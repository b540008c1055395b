# Thin: every target is one command that can also be typed by hand. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help deps deps-test deps-bench build demo test test-long lint bench-pipeline bench-wire fuzz clean-check

CARGO ?= cargo
# Where rustup puts cargo, for shells that do not know it yet.
export PATH := $(PATH):$(if $(CARGO_HOME),$(CARGO_HOME),$(HOME)/.cargo)/bin

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

deps: ## install what build and demo need (Debian, root; quiet when all is there)
	@scripts/deps.sh build demo

deps-test: deps ## install what the tests need besides
	@scripts/deps.sh test

deps-bench: deps ## install what the benchmarks need besides
	@scripts/deps.sh bench

build: deps ## build the program, target/debug/sixlane
	@$(CARGO) build --package sixlane

demo: build ## a relay and a real Linux 6to4 host, in this machine, in a minute (root)
	@$(or $(CARGO_TARGET_DIR),target)/debug/sixlane lab demo

test: deps-test ## everything that must hold, in minutes (root); ends with the sums
	@scripts/test.sh

test-long: deps-test ## the same with all seeds and 1,000 kills, in hours (root)
	@SIXLANE_LONG=1 scripts/test.sh

lint: ## format, warnings as errors
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

# Benchmarks measure the path of processors with AVX2, which is what a packaged build is for.
FAST = RUSTFLAGS="-C target-cpu=x86-64-v3" CARGO_TARGET_DIR=target/v3 $(CARGO)
BENCH = $(FAST) run --release --quiet --package sixlane-benches

bench-pipeline: deps-bench ## time and instructions per packet of the worker, without wires
	@$(BENCH) --bin bench-pipeline

bench-wire: deps-bench ## rate of the worker over real sockets, against a bare forwarder over the same (root)
	@$(FAST) build --release --quiet --package sixlane
	@$(BENCH) --bin bench-wire

fuzz: deps ## one minute of each fuzz target, with AddressSanitizer
	@scripts/fuzz.sh

clean-check: ## list what sixlane left behind on this machine (SNAPSHOT=file: since then)
	@scripts/clean-check.sh $(SNAPSHOT)
