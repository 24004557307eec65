# The doors of this house. `make` lists those that there are: a target whose files don't exist isn't one.
.DEFAULT_GOAL := help

CARGO ?= cargo
# How many random histories `make sim` runs, and for how long `make chaos` breaks things.
SEEDS ?= 0..10000
MINUTES ?= $(if $(HOURS),$(shell expr $(HOURS) \* 60),5)

TARGETS := help demo build setup test test-fast lint services-up services-down

help: ## list the targets
	@awk -F ':.*## ' -v there=' $(TARGETS) ' '/^[a-z-]+:.*## / && index(there, " " $$1 " ") \
	  { gsub(/\$$\$$/, "$$", $$2); printf "  make %-15s %s\n", $$1, $$2 }' Makefile

demo: ## the whole story in 20 seconds; no server needed, only a C compiler and make
	$(CARGO) run --release --locked -- demo

build: ## the program, with TLS towards Kafka: target/release/graceline
	$(CARGO) build --release --locked --features tls

setup: ## install what `make test` needs (Debian, Ubuntu)
	dev/setup

test: ## everything that must hold, with a real Kafka and a real Redis
	dev/test

test-fast: ## what needs neither servers nor a release build
	dev/test --fast

lint: ## format and clippy
	dev/test format lint

services-up: ## start Kafka and Redis; eval "$$(make -s services-up)" sets their addresses
	@dev/services up

services-down: ## stop them
	@dev/services down

ifneq ($(wildcard tests/sim/*),)
TARGETS += sim sim-bugs
sim: ## random histories with crashes, pauses and repeats; SEEDS=0..10000
	SEEDS=$(SEEDS) $(CARGO) sim

sim-bugs: ## plant bugs, and see which history catches each
	$(CARGO) sim-bugs
endif

ifneq ($(wildcard tests/suite/chaos*),)
TARGETS += chaos
chaos: ## kill -9 on processors, Kafka and Redis, for MINUTES=5 or HOURS=1; what came of it goes into docs/RELIABILITY.md
	CHAOS_MINUTES=$(MINUTES) $(CARGO) test --release --locked --features tls,fail-points --test suite chaos -- --nocapture
	dev/reliability
endif

TARGETS += bench-core
bench-core: ## what decoding and deciding an event costs, without servers
	$(CARGO) bench --locked --bench core

TARGETS += bench-kept
bench-kept: ## bytes of Redis for a million drafts and ids, and the time to open a shard; DRAFTS=100000 IDS=1000000
	$(CARGO) bench --locked --bench kept

TARGETS += bench
bench: ## all figures of docs/PERFORMANCE.md, on a real Kafka and a real Redis, in 40 minutes; QUICK=1: a taste of them in 5
	bench/run --page docs/PERFORMANCE.md

ifneq ($(wildcard fuzz/run),)
TARGETS += fuzz
fuzz: ## feed the readers of bytes what nobody would send
	fuzz/run
endif

.PHONY: $(TARGETS)
