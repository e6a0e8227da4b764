# The arm64 macOS program, cross-linked by zig against the real libmlx.dylib (make macos).
#
# The Homebrew libraries are not at hand here: scripts/macos-stubs writes stubs with their install
# names and those symbols that our objects use and Debian's build of the library exports.  A symbol
# that neither a stub, nor libmlx, nor macOS has is a link error.  On a Mac plain `make` builds
# natively; this target shows that it will compile and link.

ZIG    := .deps/zig/ziglang/zig
TARGET := -target aarch64-macos.14.0
MLX    := .deps/mlx-metal/mlx
BUILD  := build/macos

export ZIG_GLOBAL_CACHE_DIR := $(CURDIR)/.deps/zig-cache
export ZIG_LOCAL_CACHE_DIR  := $(CURDIR)/.deps/zig-cache

FOLDERS := $(if $(ONLY),$(ONLY),base net media text data mx nn model train export web cli)
C_SRC   := $(foreach d,$(FOLDERS),$(wildcard src/$d/*.c))
CXX_SRC := $(foreach d,$(FOLDERS),$(wildcard src/$d/*.cpp))
OBJ     := $(C_SRC:%.c=$(BUILD)/%.o) $(CXX_SRC:%.cpp=$(BUILD)/%.o)

WARN    := -Wall -Wextra -Wshadow -Werror
COMMON  := $(TARGET) -O2 -g1 -UNDEBUG -fno-sanitize=undefined -MMD -MP -Isrc
CFLAGS_ALL   := -std=c17 $(COMMON) -D_POSIX_C_SOURCE=200809L -D_XOPEN_SOURCE=700 \
                -D_DARWIN_C_SOURCE $(WARN) -Wconversion -Wstrict-prototypes \
                -Wmissing-prototypes -Wvla -Wno-enum-float-conversion \
                -isystem $(BUILD)/headers
CXXFLAGS_ALL := -std=c++20 $(COMMON) $(WARN) -isystem $(MLX)/include

.DELETE_ON_ERROR:

$(BUILD)/attune: $(OBJ) scripts/macos-stubs
	@scripts/macos-stubs $(BUILD) $(MLX)/lib/libmlx.dylib $(OBJ)
	@echo "  link $@"
	@$(ZIG) cc $(TARGET) -o $@ $(OBJ) $(MLX)/lib/libmlx.dylib $(BUILD)/stubs/*.tbd \
	    -Wl,-rpath,@loader_path/../../.deps/mlx/mlx/lib

$(BUILD)/headers: scripts/macos-stubs
	@scripts/macos-stubs --headers $@

$(BUILD)/%.o: %.c scripts/macos.mk | $(BUILD)/headers
	@mkdir -p $(@D)
	@echo "  zig cc $<"
	@$(ZIG) cc $(CFLAGS_ALL) -c -o $@ $<

$(BUILD)/%.o: %.cpp scripts/macos.mk
	@mkdir -p $(@D)
	@echo "  zig c++ $<"
	@$(ZIG) c++ $(CXXFLAGS_ALL) -c -o $@ $<

-include $(OBJ:.o=.d)
