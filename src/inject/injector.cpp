#include "inject/injector.h"

#include <mutex>

#include "base/log.h"
#include "inject/artefacts.h"
#include "inject/choose.h"
#include "inject/nvidia.h"
#include "inject/own_strategies.h"

namespace egpu::inject {
namespace {

std::unique_ptr<Injector> make(
    std::string_view strategy, std::shared_ptr<Artefacts> artefacts, std::string why
) {
    if (strategy == "direct") return make_direct_injector(std::move(artefacts), std::move(why));
    if (strategy == "cdi") return make_cdi_injector(std::move(artefacts), std::move(why));
    return make_nvidia_injector(std::move(artefacts), std::move(why));
}

Choice choose(const Artefacts& artefacts) {
    const InjectOptions& options = artefacts.options();
    NodeFacts facts;
    facts.runtime = look_at_runtime(HostView(options.host_root));
    const auto files = artefacts.files();
    facts.driver_usable = files->driver.usable();
    facts.driver = "driver" + (files->driver.version.empty() ? "" : " " + files->driver.version);
    facts.nvidia_configured = options.nvidia_configured;
    return choose_injection(facts);
}

// Chooses again when the node changed: a driver container that comes up late, a runtime whose CDI
// was switched on. What was answered before stays valid (Artefacts keeps what answers name).
class AutoInjector : public Injector {
  public:
    explicit AutoInjector(std::shared_ptr<Artefacts> artefacts) : artefacts_(std::move(artefacts)) {
        take(choose(*artefacts_));
    }

    std::string_view name() const override { return current()->name(); }
    std::string why() const override { return current()->why(); }
    Result<ContainerEdits> edits(std::span<const GivenCard> cards, std::string_view token)
        const override {
        return current()->edits(cards, token);
    }
    Status ensure(std::span<const GivenCard> cards, std::span<const GivenCard> starting) override {
        artefacts_->refresh();
        Choice choice = choose(*artefacts_);
        if (choice.strategy != current()->name()) take(std::move(choice));
        return current()->ensure(cards, starting);
    }

  private:
    std::shared_ptr<Injector> current() const {
        const std::lock_guard lock(mutex_);
        return current_;
    }
    void take(Choice choice) {
        log::info("injection", {{"strategy", choice.strategy}, {"why", choice.why}});
        std::shared_ptr<Injector> made = make(choice.strategy, artefacts_, std::move(choice.why));
        const std::lock_guard lock(mutex_);
        current_ = std::move(made);
    }

    const std::shared_ptr<Artefacts> artefacts_;
    mutable std::mutex mutex_;
    std::shared_ptr<Injector> current_;
};

}  // namespace

std::string driver_root_seen(const InjectOptions& options) {
    std::error_code ignored;
    if (!options.driver_root_here.empty() &&
        std::filesystem::is_directory(options.driver_root_here, ignored)) {
        return options.driver_root_here;
    }
    return below(options.host_root.string(), options.driver_root);
}

Status check_inject_options(const InjectOptions& options) {
    const std::string& strategy = options.strategy;
    if (strategy != "auto" && strategy != "direct" && strategy != "cdi" && strategy != "nvidia") {
        return Error{
            ErrorCode::kInvalid,
            "--injection=" + strategy.substr(0, 64) +
                " is not possible; possible: auto, direct, cdi, nvidia"};
    }
    const bool as_nvidia_does =
        options.device_list_strategy != std::vector<std::string>{"envvar"} ||
        options.device_id_strategy != "uuid" || options.pass_device_specs;
    if (as_nvidia_does && (strategy == "direct" || strategy == "cdi")) {
        return Error{
            ErrorCode::kInvalid,
            "--injection=" + strategy +
                " does not go with --device-list-strategy, --device-id-strategy or "
                "--pass-device-specs (or their variables): those are of --injection=nvidia"};
    }
    return check_nvidia_options(options);
}

Result<std::unique_ptr<Injector>> make_injector(InjectOptions options) {
    EG_TRY_VOID(check_inject_options(options));
    const std::string strategy = options.strategy;
    auto artefacts = std::make_shared<Artefacts>(std::move(options));
    if (strategy == "auto") {
        return std::unique_ptr<Injector>(std::make_unique<AutoInjector>(std::move(artefacts)));
    }
    return make(strategy, std::move(artefacts), "chosen by --injection");
}

}  // namespace egpu::inject
