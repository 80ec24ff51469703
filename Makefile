# alore: a C compiler and make are all that is needed.
#
#   make demo    teach a frozen ViT a new task, merge, compare     (DATA=fashion|digits)
#   make test    every test, with the sanitizers; last line "N passed, N failed"
#   make         the command line, build/alore
#   make check   style, order of sections, every prefix of the header compiles
#   make bench   kernels and networks as shares of the machine's peak; make plot: these over time;
#                make peers: beside others

CC      ?= cc
CXX     ?= c++
OPT     ?= -O2
STD      = -std=c99
WARN     = -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wdouble-promotion \
           -Wstrict-prototypes -Wvla -Wundef
CFLAGS  ?= $(OPT) $(WARN) $(WERROR)
LDLIBS   = -lm -lpthread
ZLIB    := $(shell echo 'int main(void) { return !zlibVersion(); }' | \
             $(CC) -include zlib.h -x c - -o /dev/null -lz 2>/dev/null && echo yes)
ifeq ($(ZLIB),yes)
TOOLFLAGS = -DALORE_ZLIB
TOOLLIBS  = -lz
endif
SAN      = -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
           -fno-sanitize-recover=all $(WARN) $(WERROR)
EXAMPLES = hello finetune merge_and_run custom_method no_malloc
DATA    ?= fashion
PREFIX  ?= /usr/local
PYTHON  ?= python3

all: build/alore

build:
	@mkdir -p build

build/alore: tools/alore.c tools/images.h tools/data.h tools/search.h tools/names.h tools/peft.h tools/bench.h alore.h | build
	$(CC) $(STD) $(CFLAGS) $(TOOLFLAGS) $< -o $@ $(LDLIBS) $(TOOLLIBS)

build/alore_san: tools/alore.c tools/images.h tools/data.h tools/search.h tools/names.h tools/peft.h tools/bench.h alore.h | build
	$(CC) $(STD) $(SAN) $(TOOLFLAGS) $< -o $@ $(LDLIBS) $(TOOLLIBS)

build/demo: examples/demo.c tools/images.h alore.h | build
	$(CC) $(STD) $(CFLAGS) $< -o $@ $(LDLIBS)

build/%: examples/%.c alore.h | build
	$(CC) $(STD) $(CFLAGS) $< -o $@ $(LDLIBS)

demo: build/demo
	@build/demo examples/data $(DATA)

examples: $(addprefix build/,$(EXAMPLES) demo)

# The runner itself, with the sanitizers, and once more plain for valgrind.
build/test: tests/test.c tools/images.h tools/search.h alore.h | build
	$(CC) $(STD) $(SAN) $< -o $@ $(LDLIBS)

build/test_plain: tests/test.c tools/images.h tools/search.h alore.h | build
	$(CC) $(STD) -O2 -g $< -o $@ $(LDLIBS)

test examples: WERROR = -Werror # a warning fails the tests, not a user's build

test: build/test build/test_plain build/alore build/alore_san examples
	@CC="$(CC)" CXX="$(CXX)" build/test $(TESTFLAGS)

check: build/slice
	build/slice alore.h "$(CC)"

build/slice: tools/slice.c | build
	$(CC) $(STD) $(CFLAGS) $< -o $@

build/bench build/bench_blas build/bench_bf16: bench/bench.c tools/bench.h alore.h | build
	$(CC) $(STD) $(CFLAGS) $(BENCHBUILD) $< -o $@ $(LDLIBS) $(BENCHLIBS)

# BLAS=1: f32 products by OpenBLAS, in rows that are called so. BF16=1: the CPU's dot products of bf16, also
# where they do not pay or are hidden.
ifdef BLAS
BENCH      = bench_blas
BENCHBUILD = -DALORE_BLAS
BENCHLIBS  = -lopenblas
else ifdef BF16
BENCH      = bench_bf16
BENCHBUILD = '-DALO_CPU_SEEN(has)=((has)|256u)'
else
BENCH     = bench
endif
bench: build/$(BENCH)
	OPENBLAS_NUM_THREADS=1 $< $(BENCHFLAGS)

# Shares over all runs of make bench: build/bench_history.svg
plot:
	$(PYTHON) bench/plot.py $(PLOTFLAGS)

# Beside PyTorch, ONNX Runtime and OpenVINO: pip install -r bench/requirements.txt
peers: build/alore
	$(PYTHON) bench/peers.py $(PEERFLAGS)

format:
	clang-format -i tools/*.c tools/*.h examples/*.c tests/*.c bench/*.c

install: build/alore
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/include
	install -m 755 build/alore $(DESTDIR)$(PREFIX)/bin/alore
	install -m 644 alore.h $(DESTDIR)$(PREFIX)/include/alore.h

clean:
	rm -rf build

.PHONY: all demo examples test check bench plot peers format install clean
