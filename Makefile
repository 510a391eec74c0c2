# `make demo` and `make test` do all the set-up that they need.

SHELL := /bin/bash
GLASSBOX := target/release/glassbox
GUEST_TARGET := target/guest-tests

.PHONY: build demo test test-guest bench lint fmt deps test-deps clean

# Both at once: alone they would resolve other features, and the engine would be compiled twice.
build: deps
	cargo build --release --locked -p cli -p bench

demo: build
	@scripts/demo.sh $(GLASSBOX)

test: deps test-deps
	GLASSBOX_TEST_DEPS=$(CURDIR)/target/test-deps GLASSBOX_PYTHON=$(CURDIR)/target/test-deps/venv/bin/python \
		cargo test --release --locked --workspace
	$(MAKE) test-guest

# The prelude, in a realm of this machine's own architecture, with Node, Endo's packages and Agoric's liveslots as oracles.
test-guest: test-deps
	cd sandbox/guest && GLASSBOX_TEST_DEPS=$(CURDIR)/target/test-deps CARGO_TARGET_DIR=$(CURDIR)/$(GUEST_TARGET) \
		cargo test --release --locked

bench: build
	target/release/bench

lint: deps
	cargo fmt --all --check
	cd sandbox/guest && cargo fmt --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	scripts/house-rules.sh

fmt:
	cargo fmt --all
	cd sandbox/guest && cargo fmt

deps:
	@scripts/deps.sh build

test-deps:
	@scripts/deps.sh test
	@scripts/test-deps.sh

clean:
	cargo clean
