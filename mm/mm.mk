# The memory core as a library for programs: the sources of the hypervisor.
#
#   make lib    (VMS=10000: for so many VMs, in a BUILD folder of its own)
#               build/libballast-mm.a, build/libballast-mm.so.1 (and .so),
#               build/include/ballast/, build/ballast-mm.pc, build/example_lib
#
# mm/ballast_mm.h says how to use it; bench/example_lib.c does.

VMS         ?=
LIB_VMS     := $(if $(VMS),-DMM_VM_MAX=$(VMS))
LIB_SOURCES := $(wildcard mm/*.c) lib/fmt.c lib/lock.c
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/lib/%.o)
LIB_STATIC  := $(BUILD)/libballast-mm.a
LIB_SHARED  := $(BUILD)/libballast-mm.so.1
LIB_HEADERS := $(BUILD)/include/ballast
LIB_EXAMPLE := $(BUILD)/example_lib
LIB_EXAMPLE_SHARED := $(BUILD)/example_lib_shared

.PHONY: lib
lib: $(LIB_STATIC) $(LIB_SHARED) $(LIB_HEADERS)/mm/ballast_mm.h $(BUILD)/ballast-mm.pc \
     $(LIB_EXAMPLE) $(LIB_EXAMPLE_SHARED)
	@echo "$(LIB_STATIC), $(LIB_SHARED); headers in $(LIB_HEADERS); $(LIB_EXAMPLE) uses them"

$(BUILD)/lib/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(COMMON) $(LIB_VMS) -fPIC -c $< -o $@

# One object whose only global symbols are those of the shared library.
$(LIB_STATIC): $(LIB_OBJECTS) mm/ballast_mm.map
	@rm -f $@
	$(LD) -r -o $(BUILD)/lib/ballast-mm.o $(LIB_OBJECTS)
	sed -n 's/^  *\([a-z_]*\*\{0,1\}\);$$/\1/p' mm/ballast_mm.map | grep -v '^\*$$' > $(BUILD)/lib/symbols
	objcopy --wildcard --keep-global-symbols=$(BUILD)/lib/symbols $(BUILD)/lib/ballast-mm.o
	ar rcs $@ $(BUILD)/lib/ballast-mm.o

# machine_*(), panic() and log_line() stay open: the program brings them.
$(LIB_SHARED): $(LIB_OBJECTS) mm/ballast_mm.map
	$(CC) -shared -Wl,-soname,$(@F) -Wl,--version-script=mm/ballast_mm.map -o $@ $(LIB_OBJECTS)
	ln -sf $(@F) $(BUILD)/libballast-mm.so

# The public header and all it includes, where -I$(LIB_HEADERS) finds them.
$(LIB_HEADERS)/mm/ballast_mm.h: mm/ballast_mm.h $(wildcard mm/*.h lib/*.h)
	@rm -rf $(LIB_HEADERS)
	@for header in $$($(CC) -I. -MM mm/ballast_mm.h | tr -d '\\' | tr ' ' '\n' | grep '\.h$$'); do \
	    mkdir -p $(LIB_HEADERS)/$$(dirname $$header) && cp $$header $(LIB_HEADERS)/$$header; done

$(BUILD)/ballast-mm.pc: mm/mm.mk
	@printf '%s\n' 'prefix=$(abspath $(BUILD))' 'Name: ballast-mm' 'Version: 1' \
	    'Description: memory core of the Ballast hypervisor' \
	    'Cflags: -I$${prefix}/include/ballast $(LIB_VMS)' 'Libs: -L$${prefix} -lballast-mm' > $@

# As a stranger builds it: with the copied headers and the library alone.
$(LIB_EXAMPLE): bench/example_lib.c $(LIB_STATIC) $(LIB_HEADERS)/mm/ballast_mm.h
	$(CC) -std=gnu11 -O2 -g $(WARN) -I$(LIB_HEADERS) $< $(LIB_STATIC) -o $@

$(LIB_EXAMPLE_SHARED): bench/example_lib.c $(LIB_SHARED) $(LIB_HEADERS)/mm/ballast_mm.h
	$(CC) -std=gnu11 -O2 -g $(WARN) -I$(LIB_HEADERS) $< -L$(BUILD) -lballast-mm \
	    '-Wl,-rpath,$$ORIGIN' -o $@
