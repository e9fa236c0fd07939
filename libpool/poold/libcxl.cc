// SPDX-License-Identifier: Apache-2.0
#include "poold/libcxl.h"

#include <dlfcn.h>

#include "poold/tree.h"

namespace poold {

namespace {

// The functions used; all are in LIBCXL_1 of its symbol map, so any version has them.
struct Library {
    void* handle = dlopen("libcxl.so.1", RTLD_NOW | RTLD_LOCAL);
    int (*create)(void**) = nullptr;
    void* (*unref)(void*) = nullptr;
    void* (*first)(void*) = nullptr;
    void* (*next)(void*) = nullptr;
    const char* (*devname)(void*) = nullptr;
    const char* (*host)(void*) = nullptr;
    unsigned long long (*ram_bytes)(void*) = nullptr;

    template <typename Function>
    bool find(Function& function, const char* name) {
        function = reinterpret_cast<Function>(handle ? dlsym(handle, name) : nullptr);
        return function != nullptr;
    }
    bool open() {
        return find(create, "cxl_new") && find(unref, "cxl_unref") &&
               find(first, "cxl_memdev_get_first") && find(next, "cxl_memdev_get_next") &&
               find(devname, "cxl_memdev_get_devname") && find(host, "cxl_memdev_get_host") &&
               find(ram_bytes, "cxl_memdev_get_ram_size");
    }
    ~Library() {
        if (handle) dlclose(handle);
    }
};

}  // namespace

std::optional<std::string> libcxl_memdevs() {
    Library library;
    void* context = nullptr;
    if (!library.open() || library.create(&context) != 0) return std::nullopt;
    std::string out;
    int count = 0;
    for (void* one = library.first(context); one && count < 64; one = library.next(one), ++count) {
        out += (out.empty() ? "" : "; ") + tame(library.devname(one), 32) + " (" +
               tame(library.host(one), 32) + ", " + describe_bytes(library.ram_bytes(one)) + ")";
    }
    library.unref(context);
    return out.empty() ? "no memdevs" : out;
}

}  // namespace poold
