// From the cards a container gets to the edits that give it them: the one seam of all injection
// strategies.
//
// This version has NVIDIA's strategies envvar and volume-mounts with device IDs by UUID or index,
// and pass-device-specs; every other name is refused by make_injector with a message that lists
// what there is. Thread-safe once made.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "inject/edits.h"

namespace egpu::inject {

struct InjectOptions {
    std::string strategy = "auto";  // --injection: auto | nvidia
    std::vector<std::string> device_list_strategy{
        "envvar"};                            // --device-list-strategy: envvar, volume-mounts
    std::string device_id_strategy = "uuid";  // --device-id-strategy: uuid | index
    bool pass_device_specs = false;           // --pass-device-specs
    std::string dev_root = "/";               // --dev-root: host path prefix of device nodes
    // Does a control node exist here? Replaceable for tests; the default asks the file system below
    // `dev_root_here`.
    std::function<bool(const std::string& path)> node_exists;
    std::string dev_root_here = "/";  // where the agent itself sees the host's /dev
};

// One card given to the container. The same card may come twice (two replicas or units of it); it
// is injected once.
struct GivenCard {
    std::string uuid;
    int index = 0;                          // sorts the answer
    std::string index_text;                 // "0", or "0:1" for a MIG instance; "" means `index`
    std::vector<std::string> device_nodes;  // "/dev/nvidia0", for MIG also its capability nodes
};

class Injector {
  public:
    virtual ~Injector() = default;
    virtual std::string_view name() const = 0;  // the strategy in effect, never "auto"
    // `token`: unique per allocation; paths and names in the answer carry it where they are per
    // container. kInvalid when a card lacks what the strategy needs (no UUID, no
    // device node).
    virtual Result<ContainerEdits> edits(std::span<const GivenCard> cards, std::string_view token)
        const = 0;
};

Result<std::unique_ptr<Injector>> make_injector(InjectOptions options);

}  // namespace egpu::inject
