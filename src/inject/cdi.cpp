// --injection cdi: the answer names devices of our own specification.
//
// The names travel twice: as cdi_devices (kubelets from 1.28 on pass them in a field of their own)
// and as an annotation (which every kubelet passes, and runtimes read since they know CDI).
// Runtimes that read both take each name once; the kubelet's version need not be known, and a
// kubelet that is upgraded replays an answer that is still right.
#include <algorithm>

#include "inject/own_strategies.h"

namespace egpu::inject {
namespace {

class CdiInjector : public Injector {
  public:
    CdiInjector(std::shared_ptr<Artefacts> artefacts, std::string why)
        : artefacts_(std::move(artefacts)), why_(std::move(why)) {}

    std::string_view name() const override { return "cdi"; }
    std::string why() const override { return why_; }
    Status ensure(std::span<const GivenCard> cards, std::span<const GivenCard> starting) override {
        Artefacts::Need need;
        need.cdi_spec = true;
        return artefacts_->ensure(need, cards, starting);
    }
    Result<ContainerEdits> edits(std::span<const GivenCard> cards, std::string_view token)
        const override {
        if (cards.empty()) return Error{ErrorCode::kInvalid, "no card to inject"};
        ContainerEdits out;
        std::string list;
        for (const GivenCard& card : cards) {
            if (card.uuid.empty()) {
                return Error{
                    ErrorCode::kInvalid,
                    "card " + std::to_string(card.index) + " has no UUID to name it by"};
            }
            std::string device = std::string(kCdiKind) + "=" + cdi_device_name(card.uuid);
            auto& devices = out.cdi_devices;
            if (std::find(devices.begin(), devices.end(), device) != devices.end()) continue;
            list += (list.empty() ? "" : ",") + device;
            devices.push_back(std::move(device));
        }
        out.annotations["cdi.k8s.io/edge-gpu_" + std::string(token)] = list;
        return out;
    }

  private:
    const std::shared_ptr<Artefacts> artefacts_;
    const std::string why_;
};

}  // namespace

std::unique_ptr<Injector> make_cdi_injector(std::shared_ptr<Artefacts> artefacts, std::string why) {
    return std::make_unique<CdiInjector>(std::move(artefacts), std::move(why));
}

}  // namespace egpu::inject
