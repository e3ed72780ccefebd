// The guard's files on the node, and the mounts that bring them into a container (docs/guard.md):
//
//   <folder>/libedge-gpu-guard.so   the guard, replaced as a whole by an upgrade
//   <folder>/ld.so.preload          names it; mounted over /etc/ld.so.preload, read-only
//   <folder>/<token>/limits         one allocation's quota: written here, read-only in the
//   container <folder>/<token>/ledger         its use: written in the container, not trusted here
//
// The kubelet replays an answer for a container's whole life: the names never change, and prepare()
// makes again what is missing. Thread-safe, but for two calls with the same token.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "inject/edits.h"

namespace egpu::isolation {

class GuardFiles {
  public:
    // `folder`: the same path here and on the host. `library`: the guard as it came with the agent.
    GuardFiles(std::filesystem::path folder, std::filesystem::path library);

    // The parts that all containers share; nothing is written when they are there and current.
    Status install() const;
    // Folder, limits and ledger of an allocation. limits is made empty when it is missing: the
    // guard refuses to start on it until a quota is written.
    Status prepare(std::string_view token) const;
    void remove(std::string_view token) const;
    // Tokens that have a folder.
    std::vector<std::string> tokens() const;

    void add_mounts(std::string_view token, inject::ContainerEdits& edits) const;

    std::filesystem::path limits(std::string_view token) const;
    std::filesystem::path ledger(std::string_view token) const;

  private:
    std::filesystem::path of(std::string_view token) const;

    std::filesystem::path folder_;
    std::filesystem::path library_;
};

}  // namespace egpu::isolation
