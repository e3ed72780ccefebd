#include "core/request_by_quantity.h"

#include <algorithm>

#include "core/card.h"
#include "core/quantity.h"

namespace egpu::core {

PodRequest request_by_quantity(const std::vector<ContainerSpec>& containers) {
    PodRequest request;
    const auto amount = [](const std::string& text) -> std::int64_t {
        if (text.empty()) return 0;
        const auto parsed = parse_quantity(text);
        return parsed
                   ? std::clamp<std::int64_t>(*parsed, 0, std::int64_t{kMaxNodeCards} * kCardUnits)
                   : 0;
    };
    for (const ContainerSpec& spec : containers) {
        const std::int64_t percent = amount(spec.percent);
        const std::int64_t whole = std::min(amount(spec.whole), std::int64_t{kMaxNodeCards});
        ContainerRequest wanted;
        wanted.name = spec.name;
        wanted.kind = spec.kind;
        if (whole > 0) {
            wanted.resource = kResourceWhole;
            wanted.cards = static_cast<int>(whole);
            wanted.percent = kCardUnits;
            wanted.whole = true;
        } else if (percent > 0 && percent < kCardUnits) {
            wanted.percent = static_cast<int>(percent);
        } else if (percent > 0) {
            wanted.cards = static_cast<int>((percent + kCardUnits - 1) / kCardUnits);
            wanted.percent = kCardUnits;
            wanted.whole = true;
        } else {
            continue;
        }
        request.containers.push_back(std::move(wanted));
    }
    return request;
}

}  // namespace egpu::core
