// What answers name and this process makes on the node: device nodes, the staged driver files, CDI
// specifications. Kept as long as an answer may name it, also after the strategy was changed: the
// kubelet replays answers for a container's whole life.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file_view.h"
#include "base/result.h"
#include "gpu/driver.h"
#include "inject/cdi_spec.h"
#include "inject/driver_mounts.h"
#include "inject/injector.h"

namespace egpu::inject {

inline constexpr std::string_view kCdiKind = "edge-gpu.io/gpu";
inline constexpr std::string_view kNvidiaCdiKind = "k8s.device-plugin.nvidia.com/gpu";

// The node as last looked at.
struct NodeFiles {
    gpu::Driver driver;
    std::vector<DriverMount> mounts;
    std::string dev_root;  // on the host, "" for "/"
    std::vector<std::string> control_nodes;
    // By PCI address: /dev/dri nodes of the card, where graphics or display is given.
    std::map<std::string, std::vector<std::string>> render_nodes;
};

// Prefix and path of a file below a root: "/" adds nothing.
std::string below(const std::string& root, const std::string& path);

// The specification of all cards. Pure; `dev_root` tells the nodes' numbers.
Result<CdiSpec> make_cdi_spec(
    std::string_view kind,
    bool by_index,
    const NodeFiles& files,
    const std::string& driver_root,
    const FileView& dev_root,
    std::span<const GivenCard> cards
);

class Artefacts {
  public:
    struct Need {
        bool staged_files = false;
        bool cdi_spec = false;         // of kCdiKind
        bool nvidia_cdi_spec = false;  // of kNvidiaCdiKind
        bool by_index = false;         // names in the latter
    };

    explicit Artefacts(InjectOptions options);  // looks at the node
    std::shared_ptr<const NodeFiles> files() const;
    const InjectOptions& options() const { return options_; }

    // Looks at the node again where it may have changed: another driver, files that are gone.
    void refresh();
    // As Injector::ensure(). What is kept but not needed by this strategy is no error.
    Status ensure(
        const Need& need, std::span<const GivenCard> cards, std::span<const GivenCard> starting
    );
    // The text `ensure` would write.
    Result<std::string> spec_text(
        std::string_view kind, bool by_index, std::span<const GivenCard> cards
    ) const;

  private:
    void look();
    void refresh_locked();
    Status ensure_nodes(std::span<const GivenCard> cards, std::span<const GivenCard> starting);
    Status check_usable(const gpu::Driver& driver) const;
    Status ensure_staged();
    Status ensure_spec(std::string_view kind, bool by_index, std::span<const GivenCard> cards);
    bool remembered(const char* what, bool needed) const;
    void say_once(const std::string& note);

    const InjectOptions options_;
    const HostView host_;
    const HostView driver_root_;

    std::mutex ensure_mutex_;  // one at a time; held during I/O
    std::string module_version_;
    TimePoint next_look_{};  // for a driver that is not there yet
    TimePoint next_module_load_{};
    std::set<std::string> said_;

    mutable std::mutex mutex_;  // guards the pointer
    std::shared_ptr<const NodeFiles> files_;
};

}  // namespace egpu::inject
