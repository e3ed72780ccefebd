// Why a pod does not fit a node, in words fit for the pod's events.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/card_search.h"
#include "core/demand.h"

namespace egpu::core {

// `text` says what is missing, for example "no card with 60 percent free". It names no node and
// few numbers: kube-scheduler groups nodes by equal texts.
struct Misfit {
    std::string text;
    bool permanent = false;  // no eviction on this node could ever help

    bool operator==(const Misfit&) const = default;
};

// The texts, one function each, so that the ledger's quick path says the same.
std::string no_cards_text();
std::string no_healthy_card_text();
std::string no_model_text(const std::vector<std::string>& models);
std::string no_share_text(const Demand& demand);
std::string too_few_cards_text(int wanted, int there);
std::string too_few_empty_text(int wanted, int there);
std::string not_together_text(std::size_t containers);
std::string never_together_text(std::size_t containers);
std::string no_memory_text(std::int64_t memory_mib);

// For a search that failed on these cards. Plans once more on the emptied node, out of the
// same budget, to know whether the misfit is permanent.
Misfit explain_misfit(
    std::span<const CardView> cards,
    CardSearch& search,
    const std::vector<std::string>& models,
    int& steps
);

}  // namespace egpu::core
