#include "core/request.h"

#include <algorithm>

#include "core/card.h"
#include "core/policy/scorer.h"
#include "core/quantity.h"

namespace egpu::core {
namespace {

// Bounds what one pod's author can make the planner do.
constexpr std::size_t kMaxContainers = 128;
constexpr std::int64_t kMaxCards = kMaxNodeCards;

Error invalid(std::string message) {
    return {ErrorCode::kInvalid, std::move(message)};
}

// For messages that quote what a user wrote: bounded and printable.
std::string shown(std::string_view text) {
    constexpr std::size_t kShown = 60;
    std::string out = "\"" + std::string(text.substr(0, kShown));
    for (char& c : out) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
    }
    return out + (text.size() > kShown ? "...\"" : "\"");
}

std::string_view trim(std::string_view text) {
    constexpr std::string_view kSpace = " \t\r\n";
    const std::size_t from = text.find_first_not_of(kSpace);
    if (from == std::string_view::npos) return {};
    return text.substr(from, text.find_last_not_of(kSpace) - from + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (true) {
        const std::size_t end = text.find(separator);
        parts.push_back(trim(text.substr(0, end)));
        if (end == std::string_view::npos) return parts;
        text.remove_prefix(end + 1);
    }
}

// The amount of one resource; 0 when the container does not ask for it.
Result<std::int64_t> amount_of(
    const ContainerSpec& spec, std::string_view resource, const std::string& text
) {
    if (text.empty()) return 0;
    const std::string where = "container " + spec.name + ": " + std::string(resource);
    auto amount = parse_quantity(text);
    if (!amount) return amount.error().wrap(where);
    if (*amount < 0) return invalid(where + " " + text + " is negative");
    return amount;
}

Result<ContainerRequest> percent_request(const ContainerSpec& spec, std::int64_t percent) {
    ContainerRequest request;
    request.name = spec.name;
    request.kind = spec.kind;
    request.resource = kResourcePercent;
    const std::string where = "container " + spec.name + ": " + std::string(kResourcePercent) +
                              " " + std::to_string(percent);
    if (percent <= kCardUnits) {
        request.percent = static_cast<int>(percent);
    } else if (percent % kCardUnits != 0) {
        return invalid(where + " is neither 1..100 nor a multiple of 100");
    } else if (percent / kCardUnits > kMaxCards) {
        return invalid(where + " is more than " + std::to_string(kMaxCards) + " cards");
    } else {
        request.percent = kCardUnits;
        request.cards = static_cast<int>(percent / kCardUnits);
    }
    request.whole = request.percent == kCardUnits;
    return request;
}

Result<ContainerRequest> whole_request(const ContainerSpec& spec, std::int64_t cards) {
    if (cards > kMaxCards) {
        return invalid(
            "container " + spec.name + ": " + std::string(kResourceWhole) + " " +
            std::to_string(cards) + " is more than " + std::to_string(kMaxCards) + " cards"
        );
    }
    ContainerRequest request;
    request.name = spec.name;
    request.kind = spec.kind;
    request.resource = kResourceWhole;
    request.percent = kCardUnits;
    request.cards = static_cast<int>(cards);
    request.whole = true;
    return request;
}

// The request of that container, nullptr when it asks for no GPU (a cap for it is harmless), or why
// a memory annotation cannot name it.
Result<ContainerRequest*> named(
    PodRequest& request,
    const std::vector<ContainerSpec>& containers,
    std::string_view annotation,
    std::string_view name
) {
    for (ContainerRequest& container : request.containers) {
        if (container.name == name) return &container;
    }
    for (const ContainerSpec& spec : containers) {
        if (spec.name == name) return static_cast<ContainerRequest*>(nullptr);
    }
    return invalid(
        "annotation " + std::string(annotation) + " names container " + shown(name) +
        ", which the pod does not have"
    );
}

Result<std::int64_t> memory_amount(std::string_view annotation, std::string_view text) {
    auto memory = parse_memory_mib(text);
    if (!memory) return memory.error().wrap("annotation " + std::string(annotation));
    if (*memory > kMaxMemoryCapMib) {
        return invalid(
            "annotation " + std::string(annotation) + ": " + shown(text) +
            " is more than any card has; write at most 1Pi"
        );
    }
    return memory;
}

// "4Gi" for every container, or "main=4Gi,side=1Gi".
Status read_memory_list(
    PodRequest& request, const std::vector<ContainerSpec>& containers, std::string_view text
) {
    if (text.find('=') == std::string_view::npos) {
        EG_TRY(const std::int64_t memory, memory_amount(kAnnotationMemory, trim(text)));
        for (ContainerRequest& container : request.containers) container.memory_mib = memory;
        return {};
    }
    for (const std::string_view part : split(text, ',')) {
        const std::size_t equals = part.find('=');
        if (equals == std::string_view::npos) {
            return invalid(
                "annotation " + std::string(kAnnotationMemory) + ": " + shown(part) +
                " is not <container>=<amount>"
            );
        }
        const std::string_view name = trim(part.substr(0, equals));
        EG_TRY(auto* container, named(request, containers, kAnnotationMemory, name));
        EG_TRY(
            const std::int64_t memory,
            memory_amount(kAnnotationMemory, trim(part.substr(equals + 1)))
        );
        if (container == nullptr) continue;
        if (container->memory_mib != 0) {
            return invalid(
                "annotation " + std::string(kAnnotationMemory) + " names container " + shown(name) +
                " twice"
            );
        }
        container->memory_mib = memory;
    }
    return {};
}

// "edge-gpu.io/memory-<container>": stronger than the list.
Status read_memory_keys(
    PodRequest& request,
    const std::vector<ContainerSpec>& containers,
    const std::map<std::string, std::string>& annotations
) {
    const std::string prefix = std::string(kAnnotationMemory) + "-";
    for (auto it = annotations.lower_bound(prefix);
         it != annotations.end() && it->first.starts_with(prefix);
         ++it) {
        const std::string_view name = std::string_view(it->first).substr(prefix.size());
        EG_TRY(auto* container, named(request, containers, it->first, name));
        EG_TRY(const std::int64_t memory, memory_amount(it->first, trim(it->second)));
        if (container != nullptr) container->memory_mib = memory;
    }
    return {};
}

Result<ComputeMode> parse_compute(std::string_view text) {
    if (text == "hard") return ComputeMode::kHard;
    if (text == "soft") return ComputeMode::kSoft;
    if (text == "burst") return ComputeMode::kBurst;
    if (text == "off") return ComputeMode::kOff;
    return invalid(
        "annotation " + std::string(kAnnotationCompute) + " " + shown(text) +
        " is none of hard, soft, burst, off"
    );
}

Result<GpuPriority> parse_priority(std::string_view text) {
    if (text == "guaranteed") return GpuPriority::kGuaranteed;
    if (text == "best-effort") return GpuPriority::kBestEffort;
    return invalid(
        "annotation " + std::string(kAnnotationPriority) + " " + shown(text) +
        " is none of guaranteed, best-effort"
    );
}

Status read_models(PodRequest& request, std::string_view text) {
    for (const std::string_view model : split(text, '|')) {
        const bool has_word = std::any_of(model.begin(), model.end(), [](char c) {
            return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        });
        if (!has_word) {
            return invalid(
                "annotation " + std::string(kAnnotationModel) + " " + shown(text) +
                " must name card models with | between them, for example \"Tesla T4|A10\""
            );
        }
        request.models.emplace_back(model);
    }
    return {};
}

Status read_annotations(
    PodRequest& request,
    const std::vector<ContainerSpec>& containers,
    const std::map<std::string, std::string>& annotations
) {
    const auto find = [&](std::string_view key) {
        const auto it = annotations.find(std::string(key));
        return it == annotations.end() ? nullptr : &it->second;
    };
    if (const auto* text = find(kAnnotationMemory)) {
        EG_TRY_VOID(read_memory_list(request, containers, *text));
    }
    EG_TRY_VOID(read_memory_keys(request, containers, annotations));
    if (const auto* text = find(kAnnotationPolicy)) {
        request.policy = trim(*text);
        if (find_scorer(request.policy) == nullptr) {
            return invalid(
                "annotation " + std::string(kAnnotationPolicy) + " " + shown(request.policy) +
                " is none of " + scorer_names()
            );
        }
    }
    if (const auto* text = find(kAnnotationModel)) EG_TRY_VOID(read_models(request, *text));
    if (const auto* text = find(kAnnotationCompute)) {
        EG_TRY(request.compute, parse_compute(trim(*text)));
    }
    if (const auto* text = find(kAnnotationPriority)) {
        EG_TRY(request.priority, parse_priority(trim(*text)));
    }
    return {};
}

}  // namespace

Result<PodRequest> parse_request(
    const std::vector<ContainerSpec>& containers,
    const std::map<std::string, std::string>& annotations
) {
    PodRequest request;
    for (const ContainerSpec& spec : containers) {
        EG_TRY(const std::int64_t percent, amount_of(spec, kResourcePercent, spec.percent));
        EG_TRY(const std::int64_t whole, amount_of(spec, kResourceWhole, spec.whole));
        if (percent > 0 && whole > 0) {
            return invalid(
                "container " + spec.name + " asks for both " + std::string(kResourcePercent) +
                " and " + std::string(kResourceWhole) + "; use one of them"
            );
        }
        if (percent > 0) {
            EG_TRY(auto container, percent_request(spec, percent));
            request.containers.push_back(std::move(container));
        } else if (whole > 0) {
            EG_TRY(auto container, whole_request(spec, whole));
            request.containers.push_back(std::move(container));
        }
    }
    if (request.empty()) return request;
    if (request.containers.size() > kMaxContainers) {
        return invalid(
            "the pod has " + std::to_string(request.containers.size()) +
            " containers that ask for a GPU, more than " + std::to_string(kMaxContainers)
        );
    }
    for (const ContainerRequest& container : request.containers) {
        const auto same =
            std::count_if(containers.begin(), containers.end(), [&](const ContainerSpec& spec) {
                return spec.name == container.name;
            });
        if (same > 1) return invalid("two containers are named " + shown(container.name));
    }
    EG_TRY_VOID(read_annotations(request, containers, annotations));
    return request;
}

}  // namespace egpu::core
