// The kubelet's own account of who holds which device IDs, from its two sources: pod-resources
// List (pods by name, no UID, no plain init containers) and the checkpoint (pod UID, all
// containers, but entries of pods that are gone stay until the kubelet writes it again). Reading
// never changes the kubelet's state, except that List makes it drop pods that are gone; never call
// list() while one of our Allocate calls runs.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/device_ids.h"
#include "base/clock.h"
#include "base/result.h"
#include "kubelet/pod_resources.h"
#include "kubelet/types.h"

namespace egpu::agent {

struct ListedContainer {
    std::string name;
    std::map<Resource, std::vector<std::string>> ids;  // only our resources
};

struct ListedPod {
    std::string ns;
    std::string name;
    std::vector<ListedContainer> containers;

    const ListedContainer* container(std::string_view name) const;
};

struct CheckpointedContainer {
    std::string pod_uid;
    std::string container;
    Resource resource = Resource::kPercent;
    std::vector<std::string> ids;
    kubelet::AllocateResponse given;  // our answer then; empty when it cannot be read
};

// One look. A source that could not be read is nullopt; its error says why.
struct KubeletBooks {
    std::optional<std::vector<ListedPod>> pods;
    std::optional<std::vector<CheckpointedContainer>> checkpoint;
    std::string error;

    const ListedPod* pod(std::string_view ns, std::string_view name) const;
};

// Only the containers and resources that concern us, from the kubelet's answer. Pure.
std::vector<ListedPod> listed_pods(const std::vector<kubelet::PodResources>& pods);

// Thread-safe.
class KubeletBooksReader {
  public:
    KubeletBooksReader(
        const std::filesystem::path& pod_resources_socket, std::filesystem::path checkpoint
    );

    // nullopt with `error` filled when the kubelet does not answer in time.
    std::optional<std::vector<ListedPod>> list(TimePoint deadline, std::string& error);
    // A missing file is an empty checkpoint: the kubelet never allocated anything.
    std::optional<std::vector<CheckpointedContainer>> checkpoint(std::string& error) const;
    KubeletBooks read(TimePoint deadline);

  private:
    kubelet::PodResourcesClient client_;
    std::filesystem::path checkpoint_path_;
};

}  // namespace egpu::agent
