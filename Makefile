# Build attune.  `make help` lists what there is to make.
#
# VARIANT=release|debug|asan|tsan|fuzz, each with an object folder of its own.
# MLX=cpu|cuda (Linux; a Mac always uses Metal).   ONLY="base text": build these folders only.
# NAME=-mine: a build folder of your own, build/release-mine.   V=1: show the commands.

OS      := $(shell uname -s)
VARIANT ?= release
MLX     ?= cpu
ifeq ($(OS),Darwin)
MLX     := metal
endif
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j2
endif
MAKEFLAGS += --no-builtin-rules
Q       := $(if $(V),,@)

BUILD   := build/$(VARIANT)$(if $(filter cuda,$(MLX)),-cuda)$(NAME)
DEPS    := .deps/mlx$(if $(filter cuda,$(MLX)),-cuda)
MLX_LIB := $(DEPS)/mlx/lib/libmlx.$(if $(filter Darwin,$(OS)),dylib,so)

# ---------------------------------------------------------------- sources --

FOLDERS := $(if $(ONLY),$(ONLY),base net media text data mx nn model train export web cli)
C_SRC   := $(foreach d,$(FOLDERS),$(wildcard src/$d/*.c))
CXX_SRC := $(foreach d,$(FOLDERS),$(wildcard src/$d/*.cpp))
OBJ     := $(C_SRC:%.c=$(BUILD)/%.o) $(CXX_SRC:%.cpp=$(BUILD)/%.o)
MAIN    := $(BUILD)/src/cli/main.o
LIB     := $(BUILD)/libattune.a
PROGRAM := $(BUILD)/attune
TESTS   := $(patsubst tests/%.c,$(BUILD)/tests/%,$(wildcard tests/test_*.c))
FUZZ    := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
SCRIPTS := $(wildcard tests/e2e/*.sh)
TOOLS   := $(patsubst tests/tools/%.c,$(BUILD)/tools/%,$(wildcard tests/tools/*.c))
BENCH   := $(patsubst bench/%.c,$(BUILD)/bench/%,$(wildcard bench/bench_*.c))

# ------------------------------------------------------------------ flags --

ifeq ($(origin CC),default)
CC := $(if $(filter fuzz,$(VARIANT)),clang,$(if $(filter Darwin,$(OS)),cc,gcc))
endif
ifeq ($(origin CXX),default)
CXX := $(if $(filter fuzz,$(VARIANT)),clang++,$(if $(filter Darwin,$(OS)),c++,g++))
endif

SANITIZE-asan := -fsanitize=address,undefined -fno-sanitize-recover=undefined
SANITIZE-tsan := -fsanitize=thread
SANITIZE-fuzz := -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
SANITIZE := $(SANITIZE-$(VARIANT))
OPTIMIZE := $(if $(filter debug,$(VARIANT)),-O0 -g,$(if $(SANITIZE),-O1 -g,-O2 -g1))

# A warning of a compiler that we do not know must not stop a user's build: there they only show.
WERROR   ?= $(if $(filter release,$(VARIANT)),,-Werror)
WARN     := -Wall -Wextra -Wshadow $(WERROR)
WARN_C   := $(WARN) -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            -Wno-enum-float-conversion
DEFINES  := -D_POSIX_C_SOURCE=200809L -D_XOPEN_SOURCE=700 -D_DARWIN_C_SOURCE
COMMON   := $(OPTIMIZE) $(SANITIZE) -fno-omit-frame-pointer -pthread -MMD -MP -Isrc
ATTUNE_CFLAGS   := -std=c17 $(COMMON) $(DEFINES) $(WARN_C) $(CFLAGS)
ATTUNE_CXXFLAGS := -std=c++20 $(COMMON) $(WARN) -isystem $(DEPS)/mlx/include $(CXXFLAGS)

# On a Linux CPU, OpenBLAS stands ahead of libmlx so that its cblas_* functions win: those that
# come with the wheel are thirty times slower.
ifeq ($(OS)-$(MLX),Linux-cpu)
BLAS     := -Wl,--no-as-needed -lopenblas -Wl,--as-needed
endif
ifeq ($(MLX),cuda)
# NVIDIA's libraries need not be on the machine that builds.
BLAS     := -Wl,--as-needed -Wl,--unresolved-symbols=ignore-in-shared-libs
endif
ORIGIN   := $(if $(filter Darwin,$(OS)),@loader_path,$$ORIGIN)
RPATH    := -Wl,-rpath,'$(ORIGIN)/../../$(DEPS)/mlx/lib' \
            -Wl,-rpath,'$(ORIGIN)/../../../$(DEPS)/mlx/lib'
LIBS      = $(BLAS) -L$(DEPS)/mlx/lib -lmlx $(PKG_LIBS) -lm -pthread $(LDFLAGS)
LINK      = $(CXX) $(SANITIZE) $(RPATH) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS)

# ---------------------------------------------------------------- targets --

.PHONY: all help test asan tsan check format macos demo bench fuzz soak clean install \
        objects tests fuzzers always
.SECONDARY:
.DELETE_ON_ERROR:

all: $(PROGRAM) attune           ## build the program (build/release/attune, ./attune)

help:                            ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | \
	    awk -F'|' '{ printf "%-18s%s\n", $$1, $$2 }'
	@sed -n '3,5s/^# //p' Makefile

# Packages and libraries; runs once per version of scripts/bootstrap.
ifneq ($(filter-out help clean,$(or $(MAKECMDGOALS),all)),)
$(MLX_LIB):
	scripts/bootstrap $(MLX)
.deps/flags.mk: scripts/bootstrap | $(MLX_LIB)
	scripts/bootstrap build
-include .deps/flags.mk
endif

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  $(CC) $<"
	$(Q)$(CC) $(ATTUNE_CFLAGS) $(PKG_CFLAGS) -c -o $@ $<

$(BUILD)/%.o: %.cpp | $(MLX_LIB)
	@mkdir -p $(@D)
	@echo "  $(CXX) $<"
	$(Q)$(CXX) $(ATTUNE_CXXFLAGS) -c -o $@ $<

$(LIB): $(filter-out $(MAIN),$(OBJ))
	@rm -f $@
	@ar rcs $@ $^

$(PROGRAM): $(MAIN) $(LIB)
	@echo "  link $@"
	$(Q)$(LINK)

# ./attune is the program that users run, never a sanitizer's.
attune: $(PROGRAM) always
	@$(if $(filter release,$(VARIANT)),[ "`readlink $@`" = $(PROGRAM) ] || ln -sfn $(PROGRAM) $@)
always:

# What several test programs share.
HELPERS := $(BUILD)/tests/http_server.o
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(HELPERS) $(LIB)
	@echo "  link $@"
	$(Q)$(LINK) $(CMOCKA_LIBS)

# Programs that tests start.
$(BUILD)/tools/%: $(BUILD)/tests/tools/%.o $(LIB)
	@mkdir -p $(@D)
	@echo "  link $@"
	$(Q)$(LINK)

objects: $(OBJ)
tests: $(TESTS) $(TOOLS) $(if $(filter fuzz,$(VARIANT)),,$(FUZZ))

test: $(if $(wildcard src/cli/main.c),$(PROGRAM) attune) tests  ## build and run all tests
	@scripts/bootstrap demo gcs
	@BUILD=$(BUILD) scripts/run-tests $(TESTS) $(if $(filter fuzz,$(VARIANT)),,$(FUZZ)) $(SCRIPTS)

asan:                            ## all C tests under the address and undefined-behaviour sanitizers
	@$(MAKE) VARIANT=asan SCRIPTS= test

tsan:                            ## the tests that use threads, under the thread sanitizer
	@TSAN_OPTIONS="suppressions=$(CURDIR)/tests/tsan.supp" $(MAKE) VARIANT=tsan SCRIPTS= FUZZ= \
	    TESTS="$(addprefix build/tsan/tests/test_,log http net request fetch auth auth_cache \
	    spool spool_fetch spool_space source loader loader_read loader_work sample walk survey \
	    forecast step mirror watch trainer \
	    tokenizer)" test

# A fuzz target is a function.  Here it replays its corpus; VARIANT=fuzz gives it libFuzzer.
FUZZ_MAIN := $(if $(filter fuzz,$(VARIANT)),,$(BUILD)/tests/fuzz/replay.o)
$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(FUZZ_MAIN) $(LIB)
	@mkdir -p $(@D)
	@echo "  link $@"
	$(Q)$(LINK) $(if $(filter fuzz,$(VARIANT)),-fsanitize=fuzzer)

fuzz:                            ## build the libFuzzer programs (build/fuzz/fuzz/*; needs clang)
	@scripts/bootstrap check
	@$(MAKE) VARIANT=fuzz fuzzers
fuzzers: $(FUZZ)

# The peers' libraries are not needed for anything else: PYTHON is one that has them.
PYTHON ?= python3
bench: all $(BENCH)              ## ratios against other libraries (PYTHON= has them)
	@$(PYTHON) bench/tokenizer.py $(BUILD)/bench/bench_tokenizer
	@$(PYTHON) bench/features.py $(BUILD)/bench/bench_features
	@$(PYTHON) bench/pictures.py $(BUILD)/bench/bench_pictures
	@$(PYTHON) bench/train.py --attune $(PROGRAM)

$(BUILD)/bench/%: $(BUILD)/bench/%.o $(LIB)
	@echo "  link $@"
	$(Q)$(LINK)

soak: all                        ## long tests: kills, faults, fuzzing for minutes
	@BUILD=$(BUILD) scripts/soak

check:                           ## warnings of gcc and clang, format, tidy, the macOS program
	@scripts/bootstrap check
	@scripts/tidy
	@scripts/format --check
	@$(MAKE) VARIANT=debug NAME=-clang CC=clang CXX=clang++ objects
	@$(MAKE) VARIANT=debug CC=gcc CXX=g++ objects
	@scripts/lint $(PKG_CFLAGS)
	@$(MAKE) macos
	@echo "check: all clean"

format:                          ## lay out all source, or FILES="src/a/b.c ..."
	@scripts/format $(FILES)

macos:                           ## the arm64 macOS program, build/macos/attune
	@scripts/bootstrap macos
	@$(MAKE) -f scripts/macos.mk

demo: all                        ## fine-tune a shipped small model on a new speaker (DEMO=whisper)
	@scripts/bootstrap demo $(if $(DEMO_BUCKET),gcs)
	@demo/run.sh $(DEMO)

PREFIX ?= /usr/local
install: $(PROGRAM)              ## install the program and its MLX under PREFIX=/usr/local
	@scripts/install $(PROGRAM) $(DEPS) $(DESTDIR)$(PREFIX)

clean:                           ## remove what was built (not .deps)
	rm -rf build attune

-include $(OBJ:.o=.d) $(HELPERS:.o=.d) $(TESTS:%=%.d) $(BENCH:%=%.d) \
         $(patsubst $(BUILD)/tools/%,$(BUILD)/tests/tools/%.d,$(TOOLS)) \
         $(patsubst $(BUILD)/fuzz/%,$(BUILD)/tests/fuzz/%.d,$(FUZZ))
