# mot: the Mixture-of-Transformers toolkit.  `make help` lists what there is to make.
#
#   make B=bin/san SAN=address,undefined check     the sanitised twin, beside the ordinary build
#   make ARCH=x86-64-v3 PREFIX=/usr DESTDIR=pkg install     what a packager types

PREFIX ?= /usr/local
bindir = $(PREFIX)/bin
libdir = $(PREFIX)/lib
includedir = $(PREFIX)/include
mandir = $(PREFIX)/share/man
DESTDIR ?=

CC ?= cc
CFLAGS ?= -O3 -g
LDFLAGS ?=
ARCH ?=
B = bin
SAN ?=
WERROR ?= 1
V ?= 0
Q = $(if $(filter 1,$(V)),,@)

VERSION := $(shell sed -n 's/^\#define MOT_VERSION "\(.*\)"/\1/p' lib/mot.h)
DEPS = build-essential pkg-config libjansson-dev libpcre2-dev libarchive-dev \
       libsndfile1-dev libkissfft-dev libstb-dev libutf8proc-dev libwebp-dev zlib1g-dev
LIBRARIES = jansson libpcre2-8 libarchive sndfile libutf8proc libwebp zlib

# Only what cleans or installs packages works without the libraries' flags.
NOPKG = deps help clean uninstall demo test gpu-bundle
ifneq ($(filter-out $(NOPKG),$(or $(MAKECMDGOALS),all)),)
  PKG_CFLAGS := $(shell pkg-config --cflags $(LIBRARIES) 2>/dev/null || echo missing)
  PKG_LIBS := $(shell pkg-config --libs $(LIBRARIES) 2>/dev/null)
  ifneq ($(findstring missing,$(PKG_CFLAGS)),)
    $(error libraries are missing; `make deps` installs them from Debian's packages: $(DEPS))
  endif
endif

WARN = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
       -Wwrite-strings -Wformat=2 -Wundef -Wpointer-arith $(if $(filter 1,$(WERROR)),-Werror)
# -std=c11 turns FMA contraction off in gcc, hence -ffp-contract; never -ffast-math: isnan must work.
FLAGS = -std=c11 -D_GNU_SOURCE -I. -Ilib -fopenmp -ffp-contract=fast -fno-math-errno -fno-trapping-math \
        $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all) $(PKG_CFLAGS)
MARCH = $(if $(ARCH),-march=$(ARCH))
LIBS = $(PKG_LIBS) -lkissfft-float $(CUDA_LIBS) -lm -lpthread

# The sets of instructions that kernels/cpu/ is compiled for beside the ordinary build ("baseline"), and their flags;
# kernels/select.c chooses at run time and asks the processor for what these flags allow.  In the last one the operands of
# matrix products are bf16.
SETS = $(if $(filter x86_64%,$(shell $(CC) -dumpmachine)),avx2 avx512 avx512bf16)
avx2 = -march=x86-64 -mavx2 -mfma
avx512 = $(avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl
avx512bf16 = $(avx512) -mavx512bf16 -DMOT_CPU_BF16

# CUDA=0 leaves the GPU's backend out; so does its absence, and a sanitised build, whose tests run the same sources on the
# host (tests/shim).  The program runs without a driver or a GPU: it finds them, and cuBLASLt, when it is asked for them.
CUDA_HOME ?= /usr/local/cuda
NVCC ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard $(CUDA_HOME)/bin/nvcc))
NVCC := $(NVCC)
CUDA ?= $(if $(NVCC),$(if $(SAN),0,1),0)
CUDA_ROOT = $(patsubst %/bin/nvcc,%,$(realpath $(NVCC)))
CUDA_ARCH = -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90a,code=sm_90a -gencode arch=compute_90,code=compute_90
CUDA_FLAGS = -std=c++20 -O3 -I. -Ikernels/cuda/gpu $(CUDA_ARCH) -lineinfo -Wno-deprecated-gpu-targets \
             $(if $(filter 1,$(WERROR)),-Werror all-warnings) -Xcompiler -Wall,-Wextra,-Wshadow,-fno-exceptions
CUDA_LIBS = $(if $(filter 1,$(CUDA)),$(addprefix -L,$(firstword $(wildcard $(CUDA_ROOT)/lib64 $(CUDA_ROOT)/targets/*/lib))) -lcudart_static -lrt -ldl -lstdc++)
cuda_src := $(wildcard kernels/cuda/*.cu)

lib_src := $(wildcard lib/*/*.c kernels/*.c kernels/cpu/*.c) kernels/cuda/$(if $(filter 1,$(CUDA)),ranges,none).c
ref_src := $(wildcard kernels/ref/*.c)
tools := $(patsubst tools/%.c,%,$(wildcard tools/mot-*.c))
tool_obj := $(patsubst %.c,$(B)/obj/%.o,$(filter-out $(wildcard tools/mot-*.c),$(wildcard tools/*.c)))
units := $(patsubst tests/unit/%.c,%,$(filter-out %_double.c,$(wildcard tests/unit/test_*.c)))
doubles := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*_double.c))
fuzzers := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
man := $(wildcard man/*)

lib_obj := $(lib_src:%.c=$(B)/obj/%.o) $(foreach s,$(SETS),$(patsubst %.c,$(B)/obj/$(s)/%.o,$(wildcard kernels/cpu/*.c))) \
           $(if $(filter 1,$(CUDA)),$(cuda_src:%.cu=$(B)/obj/%.o))
# The GPU's kernels on the host: a test program that links these before the library has them for its cuda backend.
shim_obj := $(patsubst %.cu,$(B)/obj/shim/%.o,$(filter-out %/cublas.cu,$(cuda_src))) \
            $(patsubst %.cpp,$(B)/obj/%.o,$(wildcard tests/shim/*.cpp))
ref_obj := $(ref_src:%.c=$(B)/obj/%.o)
# The model once more in double, over the reference kernels: gradients are checked against differences there.
double_obj := $(patsubst %.c,$(B)/obj/double/%.o,$(filter-out lib/model/folder.c lib/model/weights.c lib/base/device.c,$(wildcard lib/base/*.c lib/model/*.c)) lib/data/batch.c $(ref_src))

.SECONDARY:
.DELETE_ON_ERROR:

all: $(tools:%=$(B)/%) $(B)/libmot.a  ## programs and library, into bin/

$(B)/libmot.a: $(lib_obj)
	@echo "  AR   $@"
	$(Q)rm -f $@ && ar rcs $@ $^

# What the programs share; an archive, so that each takes only what it calls.
$(B)/obj/tools.a: $(tool_obj)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/mot-%: $(B)/obj/tools/mot-%.o $(B)/obj/tools.a $(B)/libmot.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/test_%_double: $(B)/obj/double/tests/unit/test_%_double.o $(double_obj)
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# Programs with the shim's cuda backend.
$(B)/test_kernels $(B)/test_attention_kernels $(B)/test_product_kernels $(B)/test_cuda $(B)/test_generate $(B)/test_encoder_kernels $(B)/test_nets $(B)/test_recompute: $(B)/test_%: $(B)/obj/tests/unit/test_%.o $(shim_obj) $(ref_obj) $(B)/libmot.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/test_%: $(B)/obj/tests/unit/test_%.o $(ref_obj) $(B)/libmot.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# The tests of kernels and of steps on a GPU (tests/gpu.sh).
$(B)/gpu_%: $(B)/obj/tests/unit/test_%.o $(ref_obj) $(B)/libmot.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/obj/tests/fuzz/replay.o $(B)/libmot.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/demo-%: $(B)/obj/demo/%.o $(B)/libmot.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# A BLAS is what the kernels are measured against, and used nowhere else.
$(B)/obj/tests/bench/%.o: private PKG_CFLAGS += $(shell pkg-config --cflags openblas 2>/dev/null)
$(B)/bench-%: $(B)/obj/tests/bench/%.o $(B)/libmot.a
	@echo "  LINK $@"
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(LDFLAGS) -o $@ $^ $(LIBS) $(shell pkg-config --libs openblas)

define COMPILE # FLAGS,REMARK
	@mkdir -p $(@D)
	@echo "  CC   $<$(2)"
	$(Q)$(CC) $(CFLAGS) $(FLAGS) $(WARN) $(1) -MMD -MP -c -o $@ $<
endef

$(B)/obj/double/%.o: %.c $(B)/obj/flags
	$(call COMPILE,$(MARCH) -DMOT_REAL_IS_DOUBLE, (double))

$(B)/obj/avx2/%.o: %.c $(B)/obj/flags
	$(call COMPILE,$(avx2) -DMOT_CPU_SET=avx2, (avx2))

$(B)/obj/avx512/%.o: %.c $(B)/obj/flags
	$(call COMPILE,$(avx512) -DMOT_CPU_SET=avx512, (avx512))

$(B)/obj/avx512bf16/%.o: %.c $(B)/obj/flags
	$(call COMPILE,$(avx512bf16) -DMOT_CPU_SET=avx512bf16, (avx512bf16))

$(B)/obj/%.o: %.c $(B)/obj/flags
	$(call COMPILE,$(MARCH))

$(B)/obj/kernels/cuda/%.o: kernels/cuda/%.cu $(B)/obj/flags
	@mkdir -p $(@D)
	@echo "  NVCC $<"
	$(Q)$(NVCC) $(CUDA_FLAGS) -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

SHIM_FLAGS = -std=c++20 -I. -Itests/shim -fno-exceptions -fno-rtti -fno-strict-aliasing -fno-threadsafe-statics -Wall -Wextra \
             -Wshadow -Wno-unknown-pragmas -Wno-psabi $(if $(filter 1,$(WERROR)),-Werror) \
             $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all)
define COMPILE_SHIM
	@mkdir -p $(@D)
	@echo "  CXX  $< (shim)"
	$(Q)$(CXX) $(CFLAGS) $(SHIM_FLAGS) -MMD -MP -x c++ -c -o $@ $<
endef

$(B)/obj/shim/%.o: %.cu $(B)/obj/flags
	$(COMPILE_SHIM)

$(B)/obj/tests/shim/%.o: tests/shim/%.cpp $(B)/obj/flags
	$(COMPILE_SHIM)

# NVTX, if CUDA brings it.
$(B)/obj/kernels/cuda/ranges.o: private FLAGS += -isystem $(CUDA_ROOT)/include

# A picture's codes do not depend on the processor.
$(B)/obj/lib/token/kmeans.o: private MARCH += -ffp-contract=off

# Changed flags rebuild everything.
ALL_FLAGS = $(CC) $(CFLAGS) $(if $(filter 1,$(CUDA)),$(NVCC) $(CUDA_FLAGS)) $(SHIM_FLAGS) $(FLAGS) $(MARCH) $(foreach s,$(SETS),$($(s))) $(WARN) $(LDFLAGS)
$(B)/obj/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(ALL_FLAGS)' | cmp -s - $@ || echo '$(ALL_FLAGS)' > $@

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

tests: $(units:%=$(B)/%) $(doubles:%=$(B)/%) $(fuzzers:%=$(B)/%)

gpu-tests: $(B)/gpu_kernels $(B)/gpu_attention_kernels $(B)/gpu_product_kernels $(B)/gpu_encoder_kernels $(B)/gpu_cuda $(B)/gpu_recompute $(B)/gpu_generate $(B)/gpu_nets

gpu-bundle:  ## what tests/gpu.sh needs on a GPU's machine that has no packages, into bin/gpu-bundle
	$(Q)tests/needs.sh $(DEPS)
	$(Q)tests/bundle.sh bin/gpu-bundle $(filter-out build-essential pkg-config,$(DEPS))

check: all tests  ## every test; the last line is "N passed, N failed"
	$(Q)B=$(B) SAN=$(SAN) tests/run.sh

test:  ## install what is missing, build, and run every test (the README's command)
	$(Q)tests/needs.sh $(DEPS) mandoc
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all tests
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) B=bin/san SAN=address,undefined CFLAGS='-O1 -g' all tests
	$(Q)B=bin SANB=bin/san tests/run.sh

demo:  ## the whole way on real data: tokenise, train dense and MoT, evaluate, match steps (10 minutes)
	$(Q)BEGUN=$$(date +%s) && export BEGUN && tests/needs.sh $(DEPS) gnuplot-nox && \
	  $(MAKE) --no-print-directory -j$$(($$(nproc) + 1)) all $(B)/demo-compare demo-data && demo/demo.sh

demo-data:
	$(Q)demo/data.sh "$(CURDIR)/demo/out"

bench: all  ## measure speed (minutes): conversion against cp, steps against a BLAS, MoT against dense, PyTorch (PYTHON=...)
	$(Q)tests/needs.sh libopenblas-dev
	$(Q)$(MAKE) --no-print-directory $(B)/bench-step
	$(Q)B=$(B) tests/bench/run.sh

deps:  ## install the libraries from Debian's packages
	tests/needs.sh $(DEPS) mandoc

lint: all  ## layers, names, what a library must not call, man pages
	$(Q)B=$(B) tests/lint.sh

# Each time: it holds PREFIX, which may be another one now.
$(B)/mot.pc: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$${prefix}/lib' 'includedir=$${prefix}/include' '' \
	  'Name: mot' 'Description: Mixture-of-Transformers toolkit' 'Version: $(VERSION)' \
	  'Cflags: -I$${includedir}' 'Libs: -L$${libdir} -lmot $(LIBS) -fopenmp' > $@

install: all $(B)/mot.pc  ## to DESTDIR and PREFIX
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(libdir)/pkgconfig $(DESTDIR)$(includedir)
	install -d $(addprefix $(DESTDIR)$(mandir)/man,1 5 7)
	install $(tools:%=$(B)/%) $(DESTDIR)$(bindir)
	install -m 644 $(B)/libmot.a $(DESTDIR)$(libdir)
	install -m 644 lib/mot.h $(DESTDIR)$(includedir)
	install -m 644 $(B)/mot.pc $(DESTDIR)$(libdir)/pkgconfig
	for m in $(man); do install -m 644 $$m $(DESTDIR)$(mandir)/man$${m##*.}; done

uninstall:  ## the reverse
	rm -f $(tools:%=$(DESTDIR)$(bindir)/%) $(DESTDIR)$(libdir)/libmot.a $(DESTDIR)$(includedir)/mot.h
	rm -f $(DESTDIR)$(libdir)/pkgconfig/mot.pc
	for m in $(man); do rm -f $(DESTDIR)$(mandir)/man$${m##*.}/$${m##*/}; done

clean:  ## remove bin/
	rm -rf bin

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  \#\# /\1\t/p' $(MAKEFILE_LIST) | sort | expand -t 12

FORCE:
.PHONY: all tests gpu-tests gpu-bundle check test bench demo demo-data deps lint install uninstall clean help FORCE
