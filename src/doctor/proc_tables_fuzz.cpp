// The doctor's own parsers of what kernel, driver, programs and package managers write.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "doctor/node_model.h"
#include "doctor/proc_tables.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace egpu::doctor;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    (void)table_value(text, "Device Minor");
    (void)dpkg_version(text, "nvidia-container-toolkit");
    if (const auto record = xid_of(text))
        EG_CHECK(text.find(record->pci) != std::string_view::npos);
    if (const auto version = first_version(text)) {
        EG_CHECK(text.find(std::to_string(version->major)) != std::string_view::npos);
    }
    return 0;
}
