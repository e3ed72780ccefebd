// The functions that can be asked for by name.
#pragma once

#include <string_view>
#include <vector>

namespace egpu::testing::cuda {

struct Entry {
    int since;  // the CUDA version from which a caller gets this form
    void* legacy;
    void* per_thread;  // of the other default stream; the same where there is one flavour
};

const std::vector<Entry>& entries_of(std::string_view name);  // in no order

}  // namespace egpu::testing::cuda
