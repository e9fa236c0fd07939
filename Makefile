# SPDX-License-Identifier: Apache-2.0
# The front door. CMake and Ninja build; the testbed's root and the guests' programs are made by scripts.
#   make         build everything that runs on this machine
#   make help    all of it in a list
SHELL := /bin/bash
.DEFAULT_GOAL := build
.PHONY: build install guest demo test test-asan test-quick try rack bench bench-tier bench-tier-quick tier-sim tier-traces fuzz-tier tsan-tier stress-tier clean help setup banner
.DELETE_ON_ERROR:

JOBS ?= $(shell nproc)
HOST := build/host
TESTBED := qemu-testbed/testbed
POOLTRACE := $(HOST)/libpool/pooltrace/pooltrace
SEEDS ?= 10000
BUILD_ASAN = cmake --build build/asan -j$(JOBS) --target unit-tests --target scenario --target fmsim
CTEST_ASAN = ctest --test-dir build/asan --output-on-failure -L 'unit|scenario|sim'
export CXLPOOL_FMD := $(CURDIR)/$(HOST)/fabric-manager/fmd
export CXLPOOL_FMCTL := $(CURDIR)/$(HOST)/fabric-manager/fmctl/fmctl
export CXLPOOL_OVERLAY := $(CURDIR)/build/overlay

help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install the Debian packages that are missing (.ci/packages.txt)
	@.ci/setup

build: setup ## Build fmd, fmctl, libpool, poold and the tests into build/host
	@mkdir -p build
	@test -f $(HOST)/build.ninja || cmake -S . -B $(HOST) -G Ninja >/dev/null
	@cmake --build $(HOST) -j$(JOBS)

install: build ## fmd, fmctl, poold, pooltier, pooltrace, libpool, manual pages (PREFIX=/usr/local, DESTDIR=)
	@cmake -S . -B $(HOST) -DCMAKE_INSTALL_PREFIX=$(or $(PREFIX),/usr/local) >/dev/null
	@cmake --build $(HOST) -j$(JOBS)
	@cmake --install $(HOST)
	@rm -f $(HOST)/install_manifest.txt  # of root's, in a folder of somebody else's
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

guest: setup ## Build the testbed's root (once, cached), the driver and the guests' programs
	@$(TESTBED) root >/dev/null
	@qemu-testbed/demo/overlay

banner:
	@echo "This installs Debian packages where they are missing (up to 300 MB, list in .ci/packages.txt),"
	@echo "caches a Debian root with QEMU and a kernel in $${CXLPOOL_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/cxlpool} (1.3 GB, 1 to 3 minutes, once),"
	@echo "builds cxlpool in build/ (3 minutes on two cores), and then shows it for about 2 minutes."

demo: banner build guest ## The main job end to end: two emulated hosts share a CXL memory pool
	@qemu-testbed/demo/demo

rack: build guest ## Boot two hosts with a fabric manager, leave them up, say what to try
	@qemu-testbed/demo/rack

try: setup ## fmd on a simulated rack and a shell in which fmctl works: no guests
	@mkdir -p build
	@test -f $(HOST)/build.ninja || cmake -S . -B $(HOST) -G Ninja >/dev/null
	@cmake --build $(HOST) -j$(JOBS) --target fmd --target fmctl
	@qemu-testbed/demo/try

# Unit tests are compiled and run once, with the sanitizers; scenarios and simulator in both builds. All CPUs are kept
# busy: guest tests leave some of them idle, and a compiler that takes only that makes the second build meanwhile.
# (With one more test at a time it starved, and went on for five minutes after the guests.) Then the demo has half of the
# machine, for it promises an end in time, and the second build's tests, which have deadlines, the other half.
test: build guest build/asan/build.ninja ## All tests, guests included
	@chrt --idle 0 $(BUILD_ASAN) >build/asan.log 2>&1 & compiler=$$!; failed=0; \
	ctest --test-dir $(HOST) --output-on-failure -j$(JOBS) -LE 'unit|demo' || failed=1; \
	ctest --test-dir $(HOST) --output-on-failure -L demo >build/demo.log 2>&1 & demo=$$!; \
	if wait $$compiler; then nice -n 10 $(CTEST_ASAN) -j$$((($(JOBS) + 1) / 2)) || failed=1; \
	else cat build/asan.log; failed=1; fi; \
	wait $$demo || failed=1; cat build/demo.log; \
	exit $$failed

test-quick: build ## The tests that need no guest, without sanitizers
	@cmake --build $(HOST) -j$(JOBS) --target unit-tests
	@ctest --test-dir $(HOST) --output-on-failure -j$(JOBS) -LE guest

build/asan/build.ninja: | setup
	@mkdir -p build
	@cmake -S . -B build/asan -G Ninja -DCXLPOOL_SANITIZE=ON >/dev/null

test-asan: setup build/asan/build.ninja ## Unit, scenario and simulator tests under AddressSanitizer and UBSan
	@$(BUILD_ASAN)
	@$(CTEST_ASAN) -j$(JOBS)

bench: build guest ## Request to node and release against stock cxl create-region; store; simulator
	@tests/bench/run

# TARGET=native NEAR=0 FAR=1: on two memory nodes of this machine instead of a guest
bench-tier: build ## Tiering against the kernel's and DAMON's (under 3 hours, resumable; TARGET=native NEAR=0 FAR=1)
ifeq ($(TARGET),native)
	@tests/bench-tier/bench native $(or $(NEAR),0) $(or $(FAR),1)
else
	@$(TESTBED) root >/dev/null
	@tests/bench-tier/overlay >/dev/null
	@tests/bench-tier/grant-overlay >/dev/null
	@tests/bench-tier/bench full
endif

bench-tier-quick: build ## The same in 10 minutes: two workloads, four contenders, one run
	@$(TESTBED) root >/dev/null
	@tests/bench-tier/overlay >/dev/null
	@tests/bench-tier/bench quick

tier-sim: setup ## Tiering in the simulator: the no-harm bound on 10,000 seeds, all policies, speed (half an hour)
	@mkdir -p build
	@test -f $(HOST)/build.ninja || cmake -S . -B $(HOST) -G Ninja >/dev/null
	@cmake --build $(HOST) -j$(JOBS) --target pooltrace
	$(POOLTRACE) harm --seeds 1..$(SEEDS) --jobs $(JOBS)
	for kind in lure pairs; do for how in --planted --no-bank; do \
		$(POOLTRACE) harm --gen $$kind --seeds 1..200 --jobs $(JOBS) --show 0 $$how || exit 1; done; done
	$(POOLTRACE) harm --gen turns --seeds 1..200 --jobs $(JOBS) --show 0 --planted  # for information: nothing is demanded
	$(POOLTRACE) matrix --csv build/tier-matrix.csv
	$(POOLTRACE) speed

tier-traces: setup ## All policies over the exact traces that bench-tier's headline left (minutes)
	@mkdir -p build
	@test -f $(HOST)/build.ninja || cmake -S . -B $(HOST) -G Ninja >/dev/null
	@cmake --build $(HOST) -j$(JOBS) --target pooltrace
	@tests/bench-tier/bench matrix

fuzz-tier: setup ## Texts that tiering reads from outside, almost right, under ASan and UBSan (ROUNDS=3000000 of each)
	@mkdir -p build
	@test -f build/asan/build.ninja || cmake -S . -B build/asan -G Ninja -DCXLPOOL_SANITIZE=ON >/dev/null
	@cmake --build build/asan -j$(JOBS) --target fuzz_test
	@FUZZ_ROUNDS=$(or $(ROUNDS),3000000) build/asan/tests/unit/fuzz/fuzz_test

tsan-tier: setup ## 200 threads on a running engine under ThreadSanitizer (SECONDS=60)
	@mkdir -p build
	@test -f build/tsan/build.ninja || cmake -S . -B build/tsan -G Ninja -DCXLPOOL_SANITIZE=thread >/dev/null
	@cmake --build build/tsan -j$(JOBS) --target threads_test --target pooltier_test
	@THREADS_SECONDS=$(or $(SECONDS),60) build/tsan/tests/unit/threads/threads_test
	@build/tsan/tests/unit/pooltier/pooltier_test --gtest_filter='Control.*'

stress-tier: build guest ## A drain with poold killed in it, and an hour of stress-ng under tiering in a guest (SECONDS=60 for less)
	@tests/libpool/libpool_test.py a_program_waits_for_its_first_grant a_drain_goes_hottest_first_and_poold_may_be_killed
	@tests/libpool/stress-overlay
	@tests/libpool/stress $(SECONDS)

clean: ## Remove build/ (the cached root stays; its place is said)
	@qemu-testbed/demo/rack down
	@for t in build/*/topology.json build/*/*/topology.json; do \
		[ ! -e "$$t" ] || $(TESTBED) down --dir "$${t%/topology.json}"; done
	@rm -rf build
	@echo "removed build/; the cached root stays in $${CXLPOOL_CACHE:-$${XDG_CACHE_HOME:-$$HOME/.cache}/cxlpool}"
