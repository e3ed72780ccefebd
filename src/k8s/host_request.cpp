#include "k8s/host_request.h"

#include <algorithm>
#include <optional>

#include "core/quantity.h"
#include "k8s/codec.h"

namespace egpu::k8s {

namespace {

using core::HostAmounts;

// Far above any machine; keeps sums of thousands of containers inside 64 bits.
constexpr std::int64_t kMost = std::int64_t{1} << 40;

// In thousandths (`milli`), or in bytes. nullopt when it is not there or cannot be read.
std::optional<std::int64_t> amount(const json::value* list, std::string_view resource, bool milli) {
    if (list == nullptr) return std::nullopt;
    const json::value* v = json::find(*list, {resource});
    if (v == nullptr) return std::nullopt;
    const std::string text = quantity_text(*v);
    const auto parsed = milli ? core::parse_milli(text) : core::parse_quantity(text);
    if (!parsed || *parsed < 0) return std::nullopt;
    return *parsed;
}

std::int64_t in_mib(std::int64_t bytes) {
    constexpr std::int64_t kMiB = 1024 * 1024;
    return bytes / kMiB + (bytes % kMiB == 0 ? 0 : 1);
}

struct Asked {
    std::optional<std::int64_t> cpu_milli;
    std::optional<std::int64_t> memory_mib;
};

Asked asked_in(const json::value& owner) {
    Asked out;
    for (const std::string_view kind : {"requests", "limits"}) {
        const json::value* list = json::find(owner, {"resources", kind});
        if (!out.cpu_milli) out.cpu_milli = amount(list, "cpu", true);
        if (const auto bytes = amount(list, "memory", false); bytes && !out.memory_mib) {
            out.memory_mib = in_mib(*bytes);
        }
    }
    return out;
}

HostAmounts container_amounts(const json::value& container) {
    const Asked asked = asked_in(container);
    return {
        std::min(asked.cpu_milli.value_or(0), kMost),
        std::min(asked.memory_mib.value_or(0), kMost)};
}

void add(HostAmounts& to, const HostAmounts& more) {
    to.cpu_milli = std::min(to.cpu_milli + more.cpu_milli, kMost);
    to.memory_mib = std::min(to.memory_mib + more.memory_mib, kMost);
}

void raise(HostAmounts& to, const HostAmounts& least) {
    to.cpu_milli = std::max(to.cpu_milli, least.cpu_milli);
    to.memory_mib = std::max(to.memory_mib, least.memory_mib);
}

}  // namespace

HostAmounts host_request(const json::value& pod) {
    HostAmounts sidecars;
    HostAmounts peak;
    if (const auto* list = json::get_array(pod, {"spec", "initContainers"})) {
        for (const json::value& container : *list) {
            HostAmounts own = container_amounts(container);
            if (json::get_string(container, {"restartPolicy"}) == "Always") {
                add(sidecars, own);
                raise(peak, sidecars);
            } else {
                add(own, sidecars);
                raise(peak, own);
            }
        }
    }
    HostAmounts out = sidecars;
    if (const auto* list = json::get_array(pod, {"spec", "containers"})) {
        for (const json::value& container : *list) add(out, container_amounts(container));
    }
    raise(out, peak);
    if (const json::value* spec = json::find(pod, {"spec"})) {
        const Asked whole = asked_in(*spec);
        if (whole.cpu_milli) out.cpu_milli = std::min(*whole.cpu_milli, kMost);
        if (whole.memory_mib) out.memory_mib = std::min(*whole.memory_mib, kMost);
    }
    const json::value* overhead = json::find(pod, {"spec", "overhead"});
    HostAmounts extra;
    extra.cpu_milli = std::min(amount(overhead, "cpu", true).value_or(0), kMost);
    extra.memory_mib = std::min(in_mib(amount(overhead, "memory", false).value_or(0)), kMost);
    add(out, extra);
    return out;
}

}  // namespace egpu::k8s
