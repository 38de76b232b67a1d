# Dependencies, tests, sanitizers, lint, fuzzing, demonstration, measurement. Included by the Makefile.

# Everything that a fresh Debian 12 needs, by package name.
DEPS_BUILD := gcc make pkg-config libc6-dev librocksdb-dev libzmq3-dev libprotobuf-c-dev protobuf-c-compiler libssl-dev libc-ares-dev \
              libopendkim-dev libmicrohttpd-dev libjansson-dev libidn2-dev libpq-dev libgmime-3.0-dev libcurl4-openssl-dev
DEPS_TEST := libcmocka-dev python3 knot knot-dnsutils nsd rbldnsd postfix opendkim opendkim-tools postgresql openssl curl procps iproute2 \
             bind9-dnsutils unbound python3-dkim libmail-dkim-perl
# Mail servers that make bench-peers measures, unpacked below the build directory: packages of such servers exclude each other.
PEER_OPENSMTPD := opensmtpd opensmtpd-filter-dkimsign libopensmtpd0
PEER_EXIM := exim4-daemon-light exim4-base libidn12
DEPS_PEERS := nodejs libevent-2.1-7 libdb5.3 libgnutls-dane0 libnsl2 libpcre2-8-0
DEPS_LINT := clang clang-format clang-tidy libclang-rt-14-dev valgrind

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

define install-packages
	@missing=$$(for p in $(1); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then echo "installing: $$missing"; \
	  $(SUDO) apt-get -q update >/dev/null && \
	  $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $$missing >$(BUILD)/apt.log 2>&1 || \
	  { tail -20 $(BUILD)/apt.log; exit 1; }; fi
endef

define unpack-packages
	@[ -e $(BUILD)/peers/$(1)/.unpacked ] || { echo 'unpacking: $(2)'; rm -rf $(BUILD)/peers/$(1) && mkdir -p $(BUILD)/peers/$(1)/debs && \
	  $(SUDO) apt-get -q update >/dev/null && cd $(BUILD)/peers/$(1) && \
	  { (cd debs && apt-get -q download $(2)) >download.log 2>&1 || { cat download.log; exit 1; }; } && \
	  for d in debs/*.deb; do dpkg -x $$d . || exit 1; done && rm -rf debs && touch .unpacked; }
endef

.PHONY: deps deps-test deps-lint deps-peers
deps:
	@mkdir -p $(BUILD)
	$(call install-packages,$(DEPS_BUILD))
deps-test: deps
	$(call install-packages,$(DEPS_TEST))
deps-lint: deps-test
	$(call install-packages,$(DEPS_LINT))
deps-peers: deps-test
	$(call install-packages,$(DEPS_PEERS))
	$(call unpack-packages,opensmtpd,$(PEER_OPENSMTPD))
	$(call unpack-packages,exim,$(PEER_EXIM))
	@command -v npm >/dev/null || $(MAKE) --no-print-directory deps-npm
	@cmp -s tests/bench/peers/haraka/package.json $(BUILD)/peers/haraka/package.json || { echo 'installing: Haraka'; rm -rf $(BUILD)/peers/haraka && \
	  mkdir -p $(BUILD)/peers/haraka.new && cp tests/bench/peers/haraka/package.json $(BUILD)/peers/haraka.new && \
	  { (cd $(BUILD)/peers/haraka.new && npm install --omit=optional --omit=dev --ignore-scripts --no-audit --no-fund --no-package-lock) >$(BUILD)/peers/npm.log 2>&1 || \
	    { tail -20 $(BUILD)/peers/npm.log; exit 1; }; } && mv $(BUILD)/peers/haraka.new $(BUILD)/peers/haraka; }
.PHONY: deps-npm
deps-npm:
	$(call install-packages,npm)

# `make` is run anew after installing, because pkg-config's answers are read when make starts.
.PHONY: test test-unit test-contract test-sim test-loopback test-crash demo bench bench-peers bench-connections asan tsan lint fuzz sim mutants help
test: deps-test
	@$(MAKE) --no-print-directory -j2 all test-programs
	@tests/run --build $(BUILD) unit contract sim loopback crash
test-unit test-contract test-sim test-loopback test-crash: deps-test
	@$(MAKE) --no-print-directory -j2 all test-programs
	@tests/run --build $(BUILD) $(patsubst test-%,%,$@)
demo: deps-test
	@$(MAKE) --no-print-directory -j2 all $(RECEIVERS)
	@PYTHONPATH=tests/kit_py python3 -u tests/demo/demo.py --build $(BUILD)
bench: deps-test
	@$(MAKE) --no-print-directory -j2 all $(RECEIVERS) bench-programs
	@PYTHONPATH=tests/kit_py python3 -u tests/bench/bench.py --build $(BUILD)
# BENCH= for other options (--help of each).
.PHONY: bench-queue bench-reaction
bench-queue: deps-test
	@$(MAKE) --no-print-directory -j2 all bench-programs
	@PYTHONPATH=tests/kit_py python3 -u tests/bench/deep_queue.py --build $(BUILD) $(BENCH)
bench-reaction: deps-test
	@$(MAKE) --no-print-directory -j2 all $(RECEIVERS)
	@PYTHONPATH=tests/kit_py python3 -u tests/bench/reaction.py --build $(BUILD) $(BENCH)
bench-peers: deps-peers
	@$(MAKE) --no-print-directory -j2 all $(RECEIVERS) bench-programs
	@PYTHONPATH=tests/kit_py python3 -u tests/bench/bench_peers.py --build $(BUILD) $(PEERS)
bench-connections: deps-test
	@$(MAKE) --no-print-directory -j2 all $(RECEIVERS)
	@PYTHONPATH=tests/kit_py python3 -u tests/bench/bench_connections.py --build $(BUILD) $(CONNECTIONS)

.PHONY: test-programs bench-programs
test-programs: $(TESTS) $(RECEIVERS) $(SIM)
BENCH_PROGRAMS := $(patsubst tests/bench/%.c,$(BUILD)/bench/bin/%,$(wildcard tests/bench/*.c))
NO_SIGNATURE := $(BUILD)/bench/bin/no_signature.so
bench-programs: $(BENCH_PROGRAMS) $(NO_SIGNATURE)
$(NO_SIGNATURE): tests/bench/preload/no_signature.c
	@mkdir -p $(@D)
	@echo '  LD   $@'
	@$(CC) $(filter-out $(SAN),$(CFLAGS_ALL)) -fPIC -shared -o $@ $<
$(BUILD)/bench/bin/%: $(BUILD)/obj/tests/bench/%.o $(ALL_LIBS)
	@mkdir -p $(@D)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $< -Wl,--start-group $(ALL_LIBS) -Wl,--end-group $(LIBS_COORD) $(LIBS_IO) $(LIBS_NODE) $(LIBS_TEST) $(LIBS_BASE)

# One seed, with its story; SEED=n replays exactly.
SEED ?= 1
sim: deps
	@$(MAKE) --no-print-directory -j2 $(SIM)
	$(SIM) --seed $(SEED) --verbose
mutants: deps-test
	@$(MAKE) --no-print-directory -j2 $(SIM)
	python3 tests/sim/mutants.py --build $(BUILD)

# What Remuda is worth in simulated worlds; EVIDENCE= for other options (tests/sim/evidence.py --help).
.PHONY: evidence evidence-heldout evidence-tune scale
evidence: deps
	@$(MAKE) --no-print-directory -j2 $(SIM)
	@python3 -u tests/sim/evidence.py --build $(BUILD) $(if $(QUICK),--quick,--scale 0.1) $(EVIDENCE)
evidence-heldout: deps
	@$(MAKE) --no-print-directory -j2 $(SIM)
	@python3 -u tests/sim/evidence.py --build $(BUILD) --heldout $(EVIDENCE)
evidence-tune: deps
	@$(MAKE) --no-print-directory -j2 $(SIM)
	@python3 -u tests/sim/evidence.py --build $(BUILD) --tune --limit 120 $(EVIDENCE)
# The whole scale run and a tenth of it, one after the other: about a quarter of an hour of one core.
scale: deps
	@$(MAKE) --no-print-directory -j2 $(SIM)
	@$(SIM) --scale 0.1
	@$(SIM) --scale 1.0

asan: deps-test
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/asan OPT="-O1 -g" SAN="-fsanitize=address,undefined -fno-sanitize-recover=undefined" \
	  all test-programs
	@tests/run --build $(BUILD)/asan --sanitizer asan unit contract sim loopback
tsan: deps-test
	@$(MAKE) --no-print-directory -j2 BUILD=$(BUILD)/tsan OPT="-O1 -g" SAN="-fsanitize=thread" all test-programs
	@tests/run --build $(BUILD)/tsan --sanitizer tsan contract loopback

FUZZ_SECONDS ?= 60
fuzz: deps-lint
	@$(MAKE) --no-print-directory -j2 CC=clang BUILD=$(BUILD)/fuzzing OPT="-O1 -g" WARN="-w" \
	  SAN="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined" fuzz-programs
	@tests/run --build $(BUILD)/fuzzing --fuzz-seconds $(FUZZ_SECONDS) fuzz
.PHONY: fuzz-programs
fuzz-programs: $(FUZZ)
$(BUILD)/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(ALL_LIBS)
	@mkdir -p $(@D)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $< -Wl,--start-group $(ALL_LIBS) -Wl,--end-group $(LIBS_COORD) $(LIBS_IO) $(LIBS_NODE) $(LIBS_TEST) $(LIBS_BASE)

# clang-tidy runs anew only on what changed since it last found nothing: a stamp a file, which also follows the headers.
SOURCES := $(shell git ls-files '*.c' '*.h' 2>/dev/null)
TIDY := $(patsubst %.c,$(BUILD)/tidy/%.ok,$(filter coordinator/%.c node/%.c proto/%.c,$(SOURCES)))
.PHONY: lint-tidy
lint: deps-lint
	@clang-format --dry-run -Werror $(SOURCES)
	@$(MAKE) --no-print-directory -j2 all
	@tests/lint/purity $(BUILD)
	@tests/lint/includes
	@$(MAKE) --no-print-directory lint-rules
	@$(MAKE) --no-print-directory -j2 -k lint-tidy
	@echo "lint: clean"
lint-tidy: $(TIDY)
$(BUILD)/tidy/%.ok: %.c $(BUILD)/obj/%.o .clang-tidy
	@mkdir -p $(@D)
	@echo '  TIDY $<'
	@clang-tidy --quiet $< -- $(filter-out -MMD -MP -fno-common -fstack-protector-strong,$(CFLAGS_ALL)) 2>&1 | \
	  grep -v ' warnings\? generated\.$$'; exit $${PIPESTATUS[0]}
	@touch $@

.PHONY: install
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/remuda $(DESTDIR)/etc/remuda
	install -m 755 $(BUILD)/remuda $(DESTDIR)$(PREFIX)/bin/
	install -m 755 $(BUILD)/remuda-coordinator $(BUILD)/remuda-node $(DESTDIR)$(PREFIX)/sbin/
	install -m 644 proto/rules/verdicts.conf proto/rules/words.model proto/providers_shipped.conf proto/plans_shipped.conf proto/blocklists_shipped.conf $(DESTDIR)$(PREFIX)/share/remuda/

help:
	@echo "make            build/remuda, build/remuda-coordinator, build/remuda-node"
	@echo "make demo       a campaign over three networks, with a block, a killed node and a restarted coordinator"
	@echo "make test       all tests; test-unit, test-contract, test-sim, test-loopback, test-crash for a part"
	@echo "make bench      CPU a message and messages a second, beside Postfix with OpenDKIM"
	@echo "                make bench-queue: 10 million queued recipients; make bench-reaction: blocked sources under load"
	@echo "make bench-peers the same work through Postfix, OpenSMTPD, Exim and Haraka, in one table (PEERS= for other options)"
	@echo "make bench-connections 10,000 connections to slow receivers: memory, fairness, throughput (CONNECTIONS= for other options)"
	@echo "make sim SEED=n replay one simulated world; make mutants: planted bugs must be caught"
	@echo "make evidence   Remuda, tuned baselines, and Remuda less each feature in simulated worlds (QUICK=1: 2 minutes)"
	@echo "make evidence-heldout   the same in the worlds that nobody tuned for"
	@echo "make scale      100 million messages from 1,000 sources: what the scheduler costs"
	@echo "make accuracy   verdict rules and model on a table of real replies (REPLIES=), in sample and held out; make model trains anew"
	@echo "make asan tsan lint fuzz"
	@echo "make install DESTDIR= PREFIX="
