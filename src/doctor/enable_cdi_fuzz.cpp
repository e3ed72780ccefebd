// Whatever the file: an edit that succeeds switches CDI on, and a second one changes nothing.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "doctor/config_text.h"
#include "doctor/containerd_config.h"
#include "doctor/enable_cdi.h"
#include "doctor/text_diff.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace egpu;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto edited = doctor::enable_cdi(text);
    if (!edited) return 0;
    const auto parsed = doctor::parse_toml(*edited);
    EG_CHECK(parsed.ok());
    const int version = static_cast<int>(json::get_int(*parsed, {"version"}).value_or(1));
    EG_CHECK(json::get_bool(*parsed, {"plugins", doctor::cri_plugin_name(version), "enable_cdi"}));
    const auto again = doctor::enable_cdi(*edited);
    EG_CHECK(again.ok() && *again == *edited);
    EG_CHECK((*edited == text) == doctor::unified_diff(text, *edited, "/f").empty());
    return 0;
}
