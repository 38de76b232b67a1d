# Remuda: build, test, demonstrate, measure. `make help` lists the words.
SHELL := /bin/bash
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
CC ?= gcc
OPT ?= -O2 -g
SAN ?=

PKGS := libzmq libprotobuf-c openssl libcares libmicrohttpd jansson libidn2 libpq gmime-3.0 libcurl
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
        -Wvla -Wformat=2 -Wundef
CFLAGS_ALL = -std=gnu11 -D_GNU_SOURCE $(OPT) $(WARN) $(SAN) -fno-common -fstack-protector-strong -pthread -MMD -MP \
             -I. -Iinclude -Iproto -isystem $(BUILD)/gen $(shell pkg-config --cflags-only-I $(PKGS) 2>/dev/null | sed 's/-I/-isystem /g') \
             -include include/remuda/banned.h $(CFLAGS)
LDFLAGS_ALL = $(SAN) -pthread -Wl,-z,relro,-z,now $(LDFLAGS)
LIBS_BASE := -lprotobuf-c
LIBS_IO := $(shell pkg-config --libs libzmq openssl libcares libidn2 2>/dev/null) -lrocksdb
LIBS_COORD := $(shell pkg-config --libs libmicrohttpd jansson libpq gmime-3.0 2>/dev/null)
LIBS_NODE := -lopendkim -lcurl
LIBS_TEST := -lcmocka -ljansson

objs = $(patsubst %.c,$(BUILD)/obj/%.o,$(sort $(wildcard $(1))))

GEN_C := $(BUILD)/gen/wire/remuda.pb-c.c
GEN_O := $(BUILD)/obj/gen/remuda.pb-c.o

LIB_BASE := $(BUILD)/lib/libremuda.a
LIB_PIO := $(BUILD)/lib/libremuda-io.a
LIB_CCORE := $(BUILD)/lib/libcoordinator-core.a
LIB_CIO := $(BUILD)/lib/libcoordinator-io.a
LIB_NCORE := $(BUILD)/lib/libnode-core.a
LIB_NIO := $(BUILD)/lib/libnode-io.a
LIB_CTL := $(BUILD)/lib/libctl.a
LIB_KIT := $(BUILD)/lib/libtestkit.a
LIB_HERD := $(BUILD)/lib/libherd.a
ALL_LIBS := $(LIB_HERD) $(LIB_KIT) $(LIB_CTL) $(LIB_CIO) $(LIB_NIO) $(LIB_CCORE) $(LIB_NCORE) $(LIB_PIO) $(LIB_BASE)

PROGRAMS := $(BUILD)/remuda $(BUILD)/remuda-coordinator $(BUILD)/remuda-node
TESTS := $(patsubst tests/%.c,$(BUILD)/tests/%,$(sort $(wildcard tests/unit/*/test_*.c tests/contract/test_*.c)))
RECEIVERS := $(BUILD)/tests/receivers/remuda-receivers
SIM := $(BUILD)/sim
FUZZ := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/fuzz/fuzz_%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

.SECONDARY: # objects of tests are kept, too
.PHONY: all
all: $(PROGRAMS)

-include tests/tests.mk tests/accuracy.mk

$(GEN_C): proto/remuda.proto
	@mkdir -p $(BUILD)/gen/wire
	@echo '  GEN  $@'
	@protoc-c --proto_path=proto --c_out=$(BUILD)/gen/wire proto/remuda.proto
$(GEN_O): $(GEN_C)
	@mkdir -p $(@D)
	@echo '  CC   $<'
	@$(CC) -std=gnu11 $(OPT) $(SAN) -isystem $(BUILD)/gen -w -c -o $@ $<
$(BUILD)/obj/%.o: %.c Makefile $(GEN_C)
	@mkdir -p $(@D)
	@echo '  CC   $<'
	@$(CC) $(CFLAGS_ALL) -c -o $@ $<

# Data that .incbin embeds: the compiler does not tell make about it.
$(BUILD)/obj/proto/io/rules_file.o: proto/rules/verdicts.conf proto/rules/words.model
$(BUILD)/obj/proto/site.o: proto/providers_shipped.conf
$(BUILD)/obj/proto/plan.o: proto/plans_shipped.conf
$(BUILD)/obj/proto/blocklist.o: proto/blocklists_shipped.conf

define library
$(1): $(2)
	@mkdir -p $$(@D)
	@rm -f $$@
	@echo '  AR   $$@'
	@ar rcs $$@ $$^
endef
$(eval $(call library,$(LIB_BASE),$(call objs,proto/base/*.c proto/*.c) $(GEN_O)))
$(eval $(call library,$(LIB_PIO),$(call objs,proto/io/*.c)))
$(eval $(call library,$(LIB_CCORE),$(call objs,coordinator/core/*.c)))
$(eval $(call library,$(LIB_CIO),$(call objs,coordinator/io/*.c)))
$(eval $(call library,$(LIB_NCORE),$(call objs,node/core/*.c)))
$(eval $(call library,$(LIB_NIO),$(call objs,node/io/*.c)))
$(eval $(call library,$(LIB_CTL),$(filter-out $(BUILD)/obj/coordinator/ctl/main.o,$(call objs,coordinator/ctl/*.c))))
$(eval $(call library,$(LIB_KIT),$(call objs,tests/kit/*.c)))
$(eval $(call library,$(LIB_HERD),$(call objs,tests/sim/herd/*.c)))

$(BUILD)/remuda-coordinator: $(BUILD)/obj/coordinator/main.o $(LIB_CIO) $(LIB_CCORE) $(LIB_PIO) $(LIB_BASE)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_COORD) $(LIBS_IO) $(LIBS_BASE)
$(BUILD)/remuda-node: $(BUILD)/obj/node/main.o $(LIB_NIO) $(LIB_NCORE) $(LIB_PIO) $(LIB_BASE)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ -lcurl $(LIBS_IO) $(LIBS_BASE)
$(BUILD)/remuda: $(BUILD)/obj/coordinator/ctl/main.o $(LIB_CTL) $(LIB_PIO) $(LIB_BASE)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ -ljansson -lcurl $(LIBS_IO) $(LIBS_BASE)

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(ALL_LIBS)
	@mkdir -p $(@D)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $< -Wl,--start-group $(ALL_LIBS) -Wl,--end-group $(LIBS_COORD) $(LIBS_IO) $(LIBS_NODE) $(LIBS_TEST) $(LIBS_BASE)
$(BUILD)/tests/contract/%: $(BUILD)/obj/tests/contract/%.o $(ALL_LIBS)
	@mkdir -p $(@D)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $< -Wl,--start-group $(ALL_LIBS) -Wl,--end-group $(LIBS_COORD) $(LIBS_IO) $(LIBS_NODE) $(LIBS_TEST) $(LIBS_BASE)
$(RECEIVERS): $(call objs,tests/receivers/*.c) $(LIB_PIO) $(LIB_BASE)
	@mkdir -p $(@D)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS_NODE) $(LIBS_IO) $(LIBS_BASE)
$(SIM): $(call objs,tests/sim/*.c tests/sim/scale/*.c) $(LIB_HERD) $(LIB_KIT) $(LIB_CCORE) $(LIB_NCORE) $(LIB_PIO) $(LIB_BASE)
	@echo '  LD   $@'
	@$(CC) $(LDFLAGS_ALL) -o $@ $(call objs,tests/sim/*.c tests/sim/scale/*.c) -Wl,--start-group $(LIB_HERD) $(LIB_KIT) $(LIB_CCORE) $(LIB_NCORE) $(LIB_PIO) $(LIB_BASE) -Wl,--end-group -ljansson $(LIBS_BASE)

.PHONY: clean
clean:
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
