#include "agent/kubelet_books.h"

#include <algorithm>

#include "kubelet/checkpoint.h"

namespace egpu::agent {

const ListedContainer* ListedPod::container(std::string_view wanted) const {
    const auto found = std::find_if(containers.begin(), containers.end(), [&](const auto& c) {
        return c.name == wanted;
    });
    return found == containers.end() ? nullptr : &*found;
}

const ListedPod* KubeletBooks::pod(std::string_view ns, std::string_view name) const {
    if (!pods) return nullptr;
    const auto found = std::find_if(pods->begin(), pods->end(), [&](const ListedPod& p) {
        return p.name == name && p.ns == ns;
    });
    return found == pods->end() ? nullptr : &*found;
}

std::vector<ListedPod> listed_pods(const std::vector<kubelet::PodResources>& pods) {
    std::vector<ListedPod> listed;
    listed.reserve(pods.size());
    for (const kubelet::PodResources& pod : pods) {
        ListedPod& out = listed.emplace_back();
        out.ns = pod.ns;
        out.name = pod.name;
        for (const kubelet::ContainerResources& container : pod.containers) {
            ListedContainer& entry = out.containers.emplace_back();
            entry.name = container.name;
            for (const auto& [name, ids] : container.devices) {
                const auto resource = resource_of(name);
                if (resource && !ids.empty()) entry.ids[*resource] = as_id_set(ids);
            }
        }
    }
    return listed;
}

KubeletBooksReader::KubeletBooksReader(
    const std::filesystem::path& pod_resources_socket, std::filesystem::path checkpoint
)
    : client_(pod_resources_socket), checkpoint_path_(std::move(checkpoint)) {}

std::optional<std::vector<ListedPod>> KubeletBooksReader::list(
    TimePoint deadline, std::string& error
) {
    const auto pods = client_.list(deadline);
    if (!pods) {
        error = pods.error().message;
        return std::nullopt;
    }
    return listed_pods(*pods);
}

std::optional<std::vector<CheckpointedContainer>> KubeletBooksReader::checkpoint(std::string& error
) const {
    const auto read = kubelet::read_checkpoint(checkpoint_path_);
    if (!read) {
        if (read.error().code == ErrorCode::kNotFound) return std::vector<CheckpointedContainer>();
        error = read.error().message;
        return std::nullopt;
    }
    std::vector<CheckpointedContainer> entries;
    for (const kubelet::CheckpointEntry& entry : read->entries) {
        const auto resource = resource_of(entry.resource);
        if (!resource || entry.device_ids.empty()) continue;
        auto given = kubelet::decode_allocate_response(entry.allocate_response);
        entries.push_back(
            {entry.pod_uid,
             entry.container,
             *resource,
             as_id_set(entry.device_ids),
             given ? std::move(*given) : kubelet::AllocateResponse{}}
        );
    }
    return entries;
}

KubeletBooks KubeletBooksReader::read(TimePoint deadline) {
    KubeletBooks books;
    books.pods = list(deadline, books.error);
    books.checkpoint = checkpoint(books.error);
    return books;
}

}  // namespace egpu::agent
