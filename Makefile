# SPDX-License-Identifier: Apache-2.0
SHELL := /bin/bash
.DEFAULT_GOAL := help
SEED ?= 1
ROUNDS ?= 5
RELEASE := .build-release
, := ,
# Of these, `tables` are damaged logs, checkpoints, vectors, data files and files to load; the others run under the address sanitizer.
FUZZ_WANTED := $(or $(subst $(,), ,$(ONLY)),safetensors gguf adapter tokenizer sentencepiece template grammar openai tables)
FUZZED := $(filter-out tables,$(FUZZ_WANTED))
FUZZ_TABLES := $(filter tables,$(FUZZ_WANTED))

help:        ## what can be made
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: .*## /|/' | awk -F'|' '{ printf "%-10s %s\n", $$1, $$2 }'

setup:       ## install what building and running needs
	@deploy/install-dependencies.sh

peers:       ## also the Python packages that tests compare with
	@deploy/install-dependencies.sh --peers

bench-peers: peers ## also the engines that only benchmarks compare with
	@deploy/install-dependencies.sh --bench

build: setup ## the release binary
	swift build -c release --product platform --scratch-path $(RELEASE)
	@echo "$(RELEASE)/release/platform"

test: units end-to-end ## everything that continuous integration runs

tests: peers
	swift build --build-tests

# Line by line, so that a reader sees the test that runs now.
units: tests
	SIMULATION_COUNT=2000 stdbuf -oL swift test --skip-build --no-parallel --skip EndToEndTests

end-to-end: tests
	stdbuf -oL swift test --skip-build --no-parallel --filter EndToEndTests

check:       ## format, warnings as errors, imports, layers
	swift format lint --strict -r Package.swift Tests $$(find Sources -name '*.swift' ! -name '*.pb.swift')
	swift build --build-tests --explicit-target-dependency-import-check error
	swift test --skip-build --filter TidyTests

format:      ## rewrite the sources in our format
	swift format -i -r Package.swift Tests $$(find Sources -name '*.swift' ! -name '*.pb.swift')

demo: build  ## start a cluster here and run the whole lifecycle on this machine's documentation
	$(RELEASE)/release/platform up --workers 2
	$(RELEASE)/release/platform demo

simulate:    ## the scheduler on a simulated cluster: make simulate SEED=7 COUNT=1000
	SIMULATION_SEED=$(or $(SEED),1) SIMULATION_COUNT=$(or $(COUNT),1000) SIMULATION_TRACE=$(or $(TRACE),25) PLATFORM_ONLY=SimulationTests \
	  swift test -c release -Xswiftc -enable-testing --scratch-path .build-simulate --filter SimulationTests

fuzz:        ## readers of outside bytes, for long: make fuzz ONLY=gguf,template SECONDS=600 SEED=7, or ONLY=tables COUNT=20000
	@set -e; if [ "$(FUZZED)" ]; then \
	  PLATFORM_ONLY=fuzz$(if $(filter openai,$(FUZZED)),$(,)API) swift build -c release -Xswiftc -enable-testing --product fuzz --scratch-path .build-fuzz \
	    --sanitize=address --sanitize=fuzzer -Xswiftc -sanitize=fuzzer$(,)address; \
	  for target in $(FUZZED); do Tests/Fuzz/run.sh $$target $(or $(SECONDS),60) $(or $(SEED),1); done; \
	fi
	@set -e; if [ "$(FUZZ_TABLES)" ]; then export FUZZ_SEED=$(or $(SEED),1); \
	  FUZZ_COUNT=$(or $(COUNT),20000) swift test --filter 'DeltaLogTests.(FuzzTests|SerialOrderTests)'; \
	  FUZZ_COUNT=$$(( $(or $(COUNT),20000) / 10 )) swift test --filter 'QueryTests.DamagedFileTests'; \
	  FUZZ_COUNT=$$(( $(or $(COUNT),20000) / 100 )) swift test --filter 'QueryTests.(IngestFuzzTests|ZipTests)'; \
	fi

soak:        ## writers of a log, and statements on a cluster, while their processes are killed: make soak SECONDS=600
	SOAK_SECONDS=$(or $(SECONDS),600) swift test --no-parallel --filter 'DeltaLogTests.SoakTests|EndToEndTests.*StatementSoakTests'

chaos:       ## three nodes on a network of their own, cut off, stopped and killed: make chaos FAULTS=100 SEED=7
	CHAOS_FAULTS=$(or $(FAULTS),100) CHAOS_SEED=$(or $(SEED),20) swift test --no-parallel --filter 'EndToEndTests.*ChaosTests'

bench: peers ## ratios against what others use instead: make bench ONLY=encoder,delta ROUNDS=7
	PLATFORM_ONLY=bench swift build -c release --product bench --scratch-path .build-bench
	.build-bench/release/bench --rounds $(ROUNDS) $(if $(ONLY),--only $(ONLY))

clean:       ## remove what was built
	rm -rf .build .build-*

.PHONY: help setup peers bench-peers build test tests units end-to-end check format demo simulate fuzz soak chaos bench clean
