// core::Placement to and from pod annotations: nano-gpu's keys, which its users and
// agents read, and our own versioned JSON, which is read first. Pure. What is read is untrusted:
// every pod's author can write it, so everything is range-checked and compared with the pod's
// request.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "core/placement.h"
#include "core/request.h"
#include "k8s/objects.h"

namespace egpu::k8s {

inline constexpr std::string_view kAnnotationPlacement = "edge-gpu.io/placement";
inline constexpr std::string_view kAnnotationAssume = "nano-gpu/assume";
inline constexpr std::string_view kAnnotationContainerPrefix = "nano-gpu/container-";
// All annotations of an object, keys and values: the API server's limit, which it does not check
// when a Binding adds some. An object beyond it cannot be updated any more.
inline constexpr std::size_t kMaxAnnotations = 256U << 10;

// What bind writes. Containers whose nano-gpu key would not be a valid annotation key are only in
// our own annotation.
StringMap to_annotations(const core::Placement& placement);
// As the API server counts them against kMaxAnnotations.
std::size_t annotations_size(const StringMap& annotations);

// nullopt: the pod carries no placement. kInvalid names the annotation and what is wrong with it;
// the pod's shares must then be accounted as unknown, never as free.
Result<std::optional<core::Placement>> from_annotations(
    const StringMap& annotations, const core::PodRequest& request
);

// Only our JSON, without a request to compare with (CLI, tests).
Result<core::Placement> parse_placement(std::string_view text);
std::string placement_text(const core::Placement& placement);

}  // namespace egpu::k8s
