// Functions by name: the list against what is exported, versions, flavours.
#include <algorithm>
#include <cstdio>
#include <set>

#include "testing/cuda/process_for_test.h"

namespace egpu::testing {
namespace {

struct Listed {
    const char* base;
    int since;
    const char* symbol;
    const char* per_thread;
};
const Listed kListed[] = {
#define ENTRY(base, since, symbol) {#base, since, #symbol, nullptr},
#define ENTRY_FLAVOURS(base, since, symbol, per_thread) {#base, since, #symbol, #per_thread},
#include "testing/cuda/entry_points.inc"
#undef ENTRY
#undef ENTRY_FLAVOURS
};

// One function is found by its name and as the newest form of another; all others by one name.
bool has_two_names(const Listed& entry) {
    return std::string(entry.symbol) == "cuGraphInstantiateWithFlags";
}

std::set<std::string> exported() {
    std::set<std::string> names;
    const std::string command = std::string("nm -D --defined-only ") + EDGE_GPU_SIM_CUDA_LIBRARY;
    std::FILE* out = ::popen(command.c_str(), "re");
    char name[256];
    while (out != nullptr && std::fscanf(out, "%*s %*s %255s", name) == 1) names.insert(name);
    if (out != nullptr) ::pclose(out);
    return names;
}

class SimProcAddress : public SimDriver {
  protected:
    void driver(const char* version) {
        node_.set_driver_version(version);
        write();
    }
};

TEST_F(SimProcAddress, the_list_is_what_is_exported) {
    std::set<std::string> listed;
    for (const Listed& entry : kListed) {
        EXPECT_TRUE(listed.insert(entry.symbol).second || has_two_names(entry)) << entry.symbol;
        if (entry.per_thread != nullptr) {
            EXPECT_TRUE(listed.insert(entry.per_thread).second) << entry.per_thread;
        }
    }
    EXPECT_EQ(listed, exported());
    EXPECT_GT(listed.size(), 300U);
}

TEST_F(SimProcAddress, every_form_is_found_by_its_version_and_flavour) {
    driver("580.65.06");
    Child child([](Report& report) {
        const Library cu = cuda_library();
        IS(cu("cuInit", 0U), 0);
        std::set<void*> seen;
        for (const Listed& entry : kListed) {
            void* function = nullptr;
            int status = -1;
            const auto look = [&](int version, std::uint64_t flags) {
                return cu("cuGetProcAddress_v2", entry.base, &function, version, flags, &status);
            };
            IS(look(entry.since, 0), 0);
            if (entry.since > 13000) {
                IS(function == nullptr, true);
                continue;
            }
            IS(status, 0);
            const bool right = function == cu.symbol(entry.symbol);
            if (!right) IS(entry.symbol, "what its version gives");
            IS(seen.insert(function).second || has_two_names(entry), true);
            IS(look(std::max(entry.since, 7000), 2), 0);
            const bool newest_of_then =
                std::none_of(std::begin(kListed), std::end(kListed), [&](const Listed& other) {
                    return std::string(other.base) == entry.base && other.since > entry.since &&
                           other.since <= 7000;
                });
            if (newest_of_then &&
                function !=
                    cu.symbol(entry.per_thread != nullptr ? entry.per_thread : entry.symbol)) {
                IS(entry.symbol, "of the thread's default stream");
            }
        }
    });
    EXPECT_EQ(child.finish(), "");
}

TEST_F(SimProcAddress, versions_and_statuses) {
    driver("550.54.15");  // CUDA 12.4
    Child child([](Report& report) {
        const Library cu = cuda_library();
        IS(cu("cuInit", 0U), 0);
        void* function = nullptr;
        int status = -1;
        const auto look = [&](const char* name, int version, std::uint64_t flags = 0) {
            return cu("cuGetProcAddress_v2", name, &function, version, flags, &status);
        };
        IS(look("cuMemAlloc", 3010), 0);
        IS(function, cu.symbol("cuMemAlloc"));
        IS(look("cuMemAlloc", 12040), 0);
        IS(function, cu.symbol("cuMemAlloc_v2"));
        IS(look("cuLaunchKernel", 12000, 2), 0);
        IS(function, cu.symbol("cuLaunchKernel_ptsz"));
        IS(look("cuMemAllocAsync", 11010), 0);
        IS(status, 2);
        IS(function == nullptr, true);
        IS(look("cuMemAlloc_v2", 12000), 0);
        IS(status, 1);
        // Newer than this driver.
        IS(look("cuMemGetMemPool", 13000), 0);
        IS(status, 1);
        IS(look("cuCtxCreate", 13000), 0);
        IS(function, cu.symbol("cuCtxCreate_v3"));
        IS(look("cuGetProcAddress", 12000), 0);
        IS(function, cu.symbol("cuGetProcAddress_v2"));
        IS(look("cuGetProcAddress", 11030), 0);
        IS(function, cu.symbol("cuGetProcAddress"));
        IS(look("cuMemAlloc", 12000, 8), 1);
        IS(cu("cuGetProcAddress",
              static_cast<const char*>("cuMemAllocAsync"),
              &function,
              11010,
              std::uint64_t{0}),
           500);
    });
    EXPECT_EQ(child.finish(), "");
}

}  // namespace
}  // namespace egpu::testing
