// --injection direct: everything in the answer itself.
#include <algorithm>
#include <set>

#include "inject/own_strategies.h"

namespace egpu::inject {
namespace {

class DirectInjector : public Injector {
  public:
    DirectInjector(std::shared_ptr<Artefacts> artefacts, std::string why)
        : artefacts_(std::move(artefacts)), why_(std::move(why)) {}

    std::string_view name() const override { return "direct"; }
    std::string why() const override { return why_; }
    Status ensure(std::span<const GivenCard> cards, std::span<const GivenCard> starting) override {
        Artefacts::Need need;
        need.staged_files = true;
        return artefacts_->ensure(need, cards, starting);
    }
    Result<ContainerEdits> edits(std::span<const GivenCard> cards, std::string_view token)
        const override;

  private:
    void add_mounts(const NodeFiles& files, ContainerEdits& out) const;

    const std::shared_ptr<Artefacts> artefacts_;
    const std::string why_;
};

void DirectInjector::add_mounts(const NodeFiles& files, ContainerEdits& out) const {
    const InjectOptions& options = artefacts_->options();
    if (files.driver.kind != gpu::DriverKind::kLinux) {
        for (const DriverMount& mount : files.mounts) {
            out.mounts.push_back({below(options.driver_root, mount.path), mount.container, true});
        }
        return;
    }
    const std::string current = (options.driver_files_dir / "current").string();
    const std::string folder(kContainerFolder);
    out.mounts.push_back({current, folder, true});
    for (const DriverMount& mount : files.mounts) {
        // Firmware has the version in its place, which an answer must not name; the kernel has read
        // it when this process opened the cards.
        if (mount.staged.empty() || mount.container.starts_with(folder + "/")) continue;
        out.mounts.push_back({current + "/" + mount.staged, mount.container, true});
    }
}

// `token` is not used: nothing here is per allocation.
Result<ContainerEdits> DirectInjector::edits(
    std::span<const GivenCard> cards, std::string_view /*token*/
) const {
    if (cards.empty()) return Error{ErrorCode::kInvalid, "no card to inject"};
    const auto files = artefacts_->files();
    if (!files->driver.usable()) {
        return Error{
            ErrorCode::kUnavailable,
            "libcuda.so.1 was not found below the driver root " +
                artefacts_->options().driver_root + " (--driver-root)"};
    }
    std::vector<const GivenCard*> sorted;
    for (const GivenCard& card : cards) sorted.push_back(&card);
    std::stable_sort(sorted.begin(), sorted.end(), [](const GivenCard* a, const GivenCard* b) {
        return a->index < b->index;
    });
    ContainerEdits out;
    out.envs["NVIDIA_VISIBLE_DEVICES"] = "void";
    std::set<std::string> added;
    const auto add = [&](const std::string& node) {
        if (added.insert(node).second) out.devices.push_back({files->dev_root + node, node, "rw"});
    };
    for (const std::string& node : files->control_nodes) add(node);
    for (const std::string& node : files->driver.device_nodes) add(node);
    std::string given;
    std::set<std::string> uuids;
    for (const GivenCard* card : sorted) {
        if (card->device_nodes.empty() && files->driver.device_nodes.empty()) {
            return Error{
                ErrorCode::kInvalid,
                "device nodes of card " + std::to_string(card->index) +
                    " are not known: the driver did not tell its minor"};
        }
        for (const std::string& node : card->device_nodes) add(node);
        if (const auto found = files->render_nodes.find(card->pci_bus_id);
            found != files->render_nodes.end()) {
            for (const std::string& node : found->second) add(node);
        }
        if (uuids.insert(card->uuid).second) given += (given.empty() ? "" : ",") + card->uuid;
    }
    out.annotations[std::string(kAnnotationGiven)] = given;
    add_mounts(*files, out);
    return out;
}

}  // namespace

std::unique_ptr<Injector> make_direct_injector(
    std::shared_ptr<Artefacts> artefacts, std::string why
) {
    return std::make_unique<DirectInjector>(std::move(artefacts), std::move(why));
}

}  // namespace egpu::inject
