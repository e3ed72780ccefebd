// From the cards a container gets to the edits that give it them: the one seam of all injection
// strategies (docs/injection.md).
//
//   direct  device nodes and the driver's files in the answer itself: any kubelet, any runtime
//   cdi     names of CDI devices, whose specification is written here
//   nvidia  as NVIDIA's device plugin, for nodes with NVIDIA's container runtime
//   auto    what suits the node
//
// Thread-safe once made.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "gpu/driver.h"
#include "inject/edits.h"

namespace egpu::inject {

struct InjectOptions {
    std::string strategy = "auto";  // --injection

    // Of `nvidia`, all named as NVIDIA's plugin names them.
    std::vector<std::string> device_list_strategy{
        "envvar"};                            // envvar, volume-mounts, cdi-annotations, cdi-cri
    std::string device_id_strategy = "uuid";  // uuid, index
    bool pass_device_specs = false;
    std::string cdi_annotation_prefix = "cdi.k8s.io/";
    std::vector<std::string> extra_envs;  // NVIDIA_GDS, …: set to "enabled"
    // One of the above was given by the user: `auto` does as told.
    bool nvidia_configured = false;

    // Paths on the host, as they stand in answers and specifications.
    std::string driver_root = "/";
    std::string dev_root = "/";  // prefix of device nodes
    // The same as seen by this process, which may run in a container.
    std::filesystem::path host_root = "/";
    std::string driver_root_here;  // "" (or not there): host_root + driver_root
    // Written by this process and named in answers: the same path here and on the host.
    std::filesystem::path driver_files_dir = "/var/lib/edge-gpu/driver";
    std::filesystem::path cdi_spec_dir = "/var/run/cdi";

    gpu::Capabilities capabilities = gpu::kCompute | gpu::kUtility | gpu::kVideo;
    // Does a control node exist here? Replaceable for tests; the default asks the file system.
    std::function<bool(const std::string& path)> node_exists;
};

// One card given to the container. The same card may come twice (two replicas or units of it); it
// is injected once.
struct GivenCard {
    std::string uuid;
    int index = 0;                          // sorts the answer
    std::string index_text;                 // "0", or "0:1" for a MIG instance; "" means `index`
    std::vector<std::string> device_nodes;  // "/dev/nvidia0", for MIG also its capability nodes
    std::string pci_bus_id{};               // as in sysfs; "" unknown

    bool operator==(const GivenCard&) const = default;
};

class Injector {
  public:
    virtual ~Injector() = default;
    virtual std::string_view name() const = 0;  // the strategy in effect, never "auto"
    // `token`: unique per allocation; paths and names in the answer carry it where they are per
    // container. No I/O. kInvalid when a card lacks what the strategy needs (no UUID, no device
    // node), kUnavailable when the driver's files were not found.
    virtual Result<ContainerEdits> edits(std::span<const GivenCard> cards, std::string_view token)
        const = 0;
    // Makes what answers name, where it is missing or out of date: device nodes, staged driver
    // files, CDI specifications. I/O; milliseconds when all is there. `cards`: all of the node;
    // `starting`: those whose containers must find their nodes now, else an error says why not.
    virtual Status ensure(
        std::span<const GivenCard> cards, std::span<const GivenCard> starting
    ) = 0;
    Status ensure(std::span<const GivenCard> cards) { return ensure(cards, cards); }
    // Why this strategy, one sentence.
    virtual std::string why() const = 0;
};

// Where this process finds the driver root.
std::string driver_root_seen(const InjectOptions& options);

// What cannot work whatever the node is like: names, combinations. No I/O.
Status check_inject_options(const InjectOptions& options);

// Looks at the node.
Result<std::unique_ptr<Injector>> make_injector(InjectOptions options);

}  // namespace egpu::inject
