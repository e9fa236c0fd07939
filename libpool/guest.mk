# SPDX-License-Identifier: Apache-2.0
# Builds what guests run, inside the testbed's root (which has g++-14 and make, no CMake):
#   make -C libpool -f guest.mk OUT=/abs/folder
# gives OUT/libpool.a and OUT/pool-hotset.
OUT ?= $(error name the output folder: OUT=/abs/folder)
CXX := g++-14
CXXFLAGS ?= -O2 -g
override CXXFLAGS += -std=gnu++23 -Wall -Wextra -Wshadow -Werror -Iinclude -I. -MMD -pthread

objects := $(patsubst %.cc,$(OUT)/libpool/%.o,$(wildcard *.cc))

all: $(OUT)/libpool.a $(OUT)/pool-hotset

$(OUT)/libpool.a: $(objects)
	$(AR) rcs $@ $^

$(OUT)/pool-hotset: $(OUT)/libpool/examples/pool-hotset.o $(OUT)/libpool.a
	$(CXX) -pthread -o $@ $^ -lnuma

$(OUT)/libpool/%.o: %.cc
	@mkdir -p $(@D)
	$(CXX) $(CXXFLAGS) -c -o $@ $<

-include $(objects:.o=.d)
.PHONY: all
