// Placement annotations: what is read back from untrusted text is in range and survives being
// written.
#include <cstdlib>

#include "core/card.h"
#include "k8s/placement_annotations.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    using namespace egpu;
    const std::string text(reinterpret_cast<const char*>(data), size);
    if (const auto placement = k8s::parse_placement(text)) {
        for (const auto& container : placement->containers) {
            for (const auto& card : container.cards) {
                if (card.index < 0 || card.index > core::kMaxCardIndex) std::abort();
                if (card.percent < 1 || card.percent > 100 || card.memory_mib < 0) std::abort();
            }
        }
        const auto again = k8s::parse_placement(k8s::placement_text(*placement));
        if (!again || !(*again == *placement)) std::abort();
    }
    core::PodRequest request;
    core::ContainerRequest& wanted = request.containers.emplace_back();
    wanted.name = "a";
    wanted.percent = 100;
    wanted.cards = 2;
    wanted.whole = true;
    const auto nano = k8s::from_annotations(
        {{"nano-gpu/assume", "true"}, {"nano-gpu/container-a", text}}, request
    );
    if (nano && (!*nano || (**nano).containers.at(0).cards.size() != 2)) std::abort();
    return 0;
}
