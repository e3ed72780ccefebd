#include "doctor/node_cards.h"

#include <unistd.h>

#include "base/child.h"
#include "gpu/inventory.h"
#include "gpu/nvml.h"

namespace egpu::doctor {
namespace {

constexpr char kGood = '+';
constexpr char kBad = '-';

Result<std::string> inside(
    const NvmlProbe& probe, const std::string& located, const CardWork& work
) {
    gpu::Nvml nvml;
    EG_TRY_VOID(enter_root(probe, located));
    EG_TRY_VOID(nvml.open(located.empty() ? probe.library : located, probe.driver_root));
    EG_TRY(const gpu::Enumeration found, gpu::enumerate(nvml, {}, {}));
    std::vector<inject::GivenCard> cards;
    for (const gpu::CardInfo& info : found.cards) {
        inject::GivenCard card;
        card.uuid = info.card.uuid;
        card.index = info.card.index;
        card.index_text = info.index_text;
        card.device_nodes = info.device_nodes;
        card.pci_bus_id = info.pci_bus_id;
        cards.push_back(std::move(card));
    }
    return work(cards);
}

}  // namespace

Result<std::string> with_node_cards(
    const FileView& files, const NvmlProbe& probe, const CardWork& work
) {
    const std::string located = locate_nvml(files, probe);
    ChildOptions options;
    options.limit = probe.limit;
    EG_TRY(
        const ChildResult result,
        run_function(
            [&](int output) {
                const auto made = inside(probe, located, work);
                const std::string text = made ? kGood + *made : kBad + made.error().message;
                return write_to(output, text) ? 0 : 1;
            },
            options
        )
    );
    if (result.timed_out)
        return Error{ErrorCode::kDeadline, "the driver or the file system does not answer"};
    if (result.output.empty()) return Error{ErrorCode::kInternal, "the child process died"};
    std::string text = result.output.substr(1);
    if (result.output.front() != kGood) return Error{ErrorCode::kUnavailable, std::move(text)};
    return text;
}

}  // namespace egpu::doctor
