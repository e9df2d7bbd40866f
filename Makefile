# One configuration for everything: release. `make up` to try it, `make test` is the gate.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

SWIFT ?= $(CURDIR)/.ci/swift
export SWIFT
BUILD := .build/release
SEEDS ?= 20000
FROM ?= 1
SERVERS ?= 3
AGENTS ?= 1
# Test suites take what they need of this: the least seeds that `make test` runs at L0 and L1.
export SERAI_TEST_SEEDS ?=

.PHONY: up down test chaos bench simulate acceptance lint format dist build build-all needs-build needs-test needs-bench \
    needs-chaos clean

needs-build:
	@.ci/need git libsqlite3-dev zlib1g-dev

needs-test: needs-build
	@.ci/need curl bind9-dnsutils python3 python3-venv

needs-bench: needs-build
	@.ci/need curl strace wrk

needs-chaos: needs-build
	@.ci/need python3 nftables iproute2 util-linux e2fsprogs gcc libc6-dev

build: needs-build
	$(SWIFT) build -c release --product serai

# The tests build with the flags of the product, so that neither makes the other's packages build anew: they need no
# testable imports. The filter fits no test.
SWIFT_TEST := $(SWIFT) test -c release --disable-testable-imports

build-all: needs-build
	$(SWIFT_TEST) --filter '^$$'

up: build
	cluster/local up --servers $(SERVERS) --agents $(AGENTS)

down:
	cluster/local down

test: needs-test needs-chaos build-all
	$(SWIFT_TEST) --skip-build --no-parallel
	Tests/Fuzzers/run --seconds 10
	Tests/Processes/run
	chaos/run standard --seconds 180

chaos: needs-chaos build
	$(SWIFT) build -c release --product judge
	chaos/run standard

bench: needs-bench build
	$(SWIFT) build -c release --product load
	@status=0; Benchmarks/run || status=$$?; Benchmarks/run discovery || status=$$?; exit $$status

simulate: needs-build
	$(SWIFT) build -c release --product simulate
	$(BUILD)/simulate --canary --seeds 200
	$(BUILD)/simulate --seeds $(SEEDS) --from $(FROM) --share-l1 10 --share-l2 5 --jobs $$(nproc) --ledger .build/simulation-ledger

lint:
	@.ci/need python3
	Tests/lint
	find Package.swift Sources Tests Benchmarks -name '*.swift' -not -path '*/Generated/*' -print0 \
	    | xargs -0 $(SWIFT) format lint --strict --configuration .swift-format

format:
	find Package.swift Sources Tests Benchmarks -name '*.swift' -not -path '*/Generated/*' -print0 \
	    | xargs -0 $(SWIFT) format format --in-place --configuration .swift-format

acceptance: lint test
	Tests/Differential/run
	Tests/NameDifferential/run
	Tests/CommandLine/run
	Tests/Clients/run
	Tests/Fuzzers/run --seconds 300
	$(MAKE) simulate
	Tests/Mutations/run
	chaos/planted/run
	chaos/matrix --resume
	$(MAKE) bench

dist: needs-build
	$(SWIFT) build -c release --product serai --static-swift-stdlib --scratch-path .build/static
	mkdir -p .build/dist
	install -m 755 .build/static/release/serai .build/dist/serai
	strip .build/dist/serai
	ldd .build/dist/serai

clean:
	$(SWIFT) package clean
	rm -rf .build/static .build/dist
