#include "testing/cuda/settings.h"

#include <charconv>
#include <sstream>

namespace egpu::testing::cuda {
namespace {

struct Key {
    const char* name;
    std::uint64_t Settings::*member;
};
constexpr Key kKeys[] = {
    {"context_mib", &Settings::context_mib},
    {"context_ms", &Settings::context_ms},
    {"init_ms", &Settings::init_ms},
    {"launch_ns", &Settings::launch_ns},
    {"event_ns", &Settings::event_ns},
    {"alloc_ns", &Settings::alloc_ns},
    {"copy_gbps", &Settings::copy_gbps},
    {"kernel_ns", &Settings::kernel_ns},
    {"loop_ns", &Settings::loop_ns},
    {"slice_us", &Settings::slice_us},
    {"switch_ns", &Settings::switch_ns},
    {"spatial", &Settings::spatial},
    {"pool_grain_mib", &Settings::pool_grain_mib},
};

template <class T>
bool number(const std::string& text, T& out) {
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out);
    return code == std::errc() && end == text.data() + text.size();
}

}  // namespace

bool Settings::apply(std::string_view line) {
    std::istringstream split{std::string(line)};
    std::vector<std::string> words;
    for (std::string word; split >> word;) words.push_back(word);
    if (words.empty()) return true;
    if (words[0] == "fail") {
        auto fault = std::make_unique<Fault>();
        if (words.size() < 3 || words.size() > 5 || !number(words[2], fault->code)) return false;
        if (words.size() > 3 && !number(words[3], fault->after)) return false;
        if (words.size() > 4 && !number(words[4], fault->count)) return false;
        fault->call = words[1];
        faults.push_back(std::move(fault));
        return true;
    }
    for (const Key& key : kKeys) {
        if (words[0] == key.name) return words.size() == 2 && number(words[1], this->*key.member);
    }
    return false;
}

bool Settings::apply_all(std::string_view lines, std::string& wrong) {
    std::istringstream split{std::string(lines)};
    for (std::string line; std::getline(split, line, ';');) {
        if (!apply(line)) {
            wrong = line;
            return false;
        }
    }
    return true;
}

int Settings::fault(const char* call) const {
    for (const auto& fault : faults) {
        if (fault->call != call) continue;
        const std::uint64_t nth = fault->calls.fetch_add(1);
        if (nth >= fault->after && (fault->count == 0 || nth < fault->after + fault->count)) {
            return fault->code;
        }
    }
    return 0;
}

}  // namespace egpu::testing::cuda
