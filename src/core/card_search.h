// The planner's search: cards for all containers of a pod. See planner.h for the rules.
//
// Containers that must share a card (a chain of init containers and what re-uses their device IDs)
// form one item; items are tried largest first, cards in the policy's order, cards in equal state
// once, dead ends remembered. The first dive is best-fit decreasing; the budget bounds the rest.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "core/demand.h"
#include "core/policy.h"

namespace egpu::core {

inline constexpr int kPlanSteps = 4096;  // of one plan; about a millisecond at worst

enum class PlanStatus { kFits, kNoRoom, kGaveUp };  // kGaveUp: budget spent, may or may not fit

// A request prepared for many nodes; keeps its buffers. Not thread-safe.
class CardSearch {
  public:
    explicit CardSearch(std::vector<Demand> demands);
    CardSearch(const CardSearch&) = delete;
    CardSearch& operator=(const CardSearch&) = delete;
    ~CardSearch();

    const std::vector<Demand>& demands() const;

    // `steps` is lowered by the work done; the first dive is made even with no steps left. `choice`
    // is filled on kFits only. CardView::free_* already exclude what other pods hold.
    PlanStatus plan(
        std::span<const CardView> cards,
        const Policy& policy,
        const PolicyContext& context,
        int& steps,
        CardChoice& choice
    );

  private:
    class Search;
    std::vector<Demand> demands_;
    std::unique_ptr<Search> search_;  // only for more than one container
};

}  // namespace egpu::core
