#include "core/card_search.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <unordered_set>

#include "base/random.h"
#include "core/card.h"
#include "core/card_use.h"
#include "core/plan_one.h"
#include "core/search_items.h"

namespace egpu::core {
namespace {

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    std::uint64_t state = a ^ (b * 0x9E3779B97F4A7C15ULL);
    return splitmix64(state);
}

// What this pod has on one card so far.
struct Load {
    int reusable = 0;              // percent IDs of this card in the kubelet's pool
    bool nvidia = false;           // held through nvidia.com/gpu
    bool nvidia_reusable = false;  // and its ID is in that resource's pool
};

struct Candidate {
    std::int64_t rank = 0;
    int card = 0;
    std::uint64_t state = 0;  // equal for cards in equal state
};

}  // namespace

class CardSearch::Search {
  public:
    explicit Search(std::span<const Demand> demands)
        : demands_(demands),
          phases_(phase_count(demands)),
          lives_(lives_of(demands)),
          items_(items_of(demands)),
          chosen_(demands.size()) {
        while (first_free_ < static_cast<int>(items_.size()) && !items_[first_free_].free) {
            ++first_free_;
        }
        frames_.resize(items_.size());
    }

    PlanStatus run(
        std::span<const CardView> cards,
        const Policy& policy,
        const PolicyContext& context,
        int& steps,
        CardChoice& choice
    ) {
        cards_ = cards;
        policy_ = &policy;
        context_ = &context;
        steps_ = steps;
        loads_.assign(cards.size(), {});
        percent_.assign(cards.size() * phases_, 0);
        memory_.assign(cards.size() * phases_, 0);
        pool_ = nvidia_pool_ = 0;
        dead_end_ = gave_up_ = false;
        if (!failed_.empty()) failed_.clear();
        const bool fits = bound_holds(0) && place(0);
        steps = steps_;
        if (!fits) return gave_up_ ? PlanStatus::kGaveUp : PlanStatus::kNoRoom;
        choice.clear();
        for (const auto& picked : chosen_) {
            choice.insert(choice.end(), picked.begin(), picked.end());
        }
        return PlanStatus::kFits;
    }

  private:
    struct Frame {
        std::vector<Candidate> candidates;
        std::vector<int> picked;
        std::vector<Load> saved;
        int pool = 0;
        int nvidia_pool = 0;
    };

    // --- one card ---

    int* percent(int card) { return &percent_[static_cast<std::size_t>(card) * phases_]; }
    std::int64_t* memory(int card) { return &memory_[static_cast<std::size_t>(card) * phases_]; }

    int peak(int card) {
        const int* load = percent(card);
        return *std::max_element(load, load + phases_);
    }

    void add(const Item& item, int card, int sign) {
        for (const int i : item.members) {
            const std::int64_t bytes = memory_on(demands_[i], cards_[card].memory_mib);
            for (int p = lives_[i].begin; p < lives_[i].end; ++p) {
                percent(card)[p] += sign * demands_[i].percent;
                memory(card)[p] += sign * bytes;
            }
        }
    }

    bool fits(const Item& item, int card) {
        const CardView& view = cards_[card];
        if (!view.usable) return false;
        if (item.whole && !view.empty) return false;
        if (item.nvidia) return fits_nvidia(item, card);
        if (loads_[card].nvidia) return false;
        if (item.pooled && !pool_allows(item, card)) return false;
        bool ok = true;
        add(item, card, +1);
        for (int p = 0; p < phases_ && ok; ++p) {
            ok = percent(card)[p] <= view.free_percent &&
                 (view.memory_mib == 0 || memory(card)[p] <= view.free_memory_mib);
        }
        for (const int i : item.members) {
            ok = ok && cap_fits(demands_[i], view);
        }
        add(item, card, -1);
        return ok;
    }

    // A cap above the card's size can never be honoured, not even on a card taken whole.
    static bool cap_fits(const Demand& demand, const CardView& view) {
        return view.memory_mib == 0 || demand.memory_mib <= view.memory_mib;
    }

    bool fits_nvidia(const Item& item, int card) {
        const Load& load = loads_[card];
        if (!cap_fits(demands_[item.members[0]], cards_[card])) return false;
        if (load.nvidia) return load.nvidia_reusable;
        return nvidia_pool_ < item.cards && peak(card) == 0;
    }

    // What the container re-uses must lie on its own cards (planner.h).
    bool pool_allows(const Item& item, int card) const {
        const int units = item.peak * item.cards;
        const int here = loads_[card].reusable;
        if (pool_ > units) return here >= item.peak;
        if (item.cards == 1) return here == pool_;  // also when the pool is empty
        return true;  // several cards: all cards of the pool among them, checked when picked
    }

    // --- search ---

    std::uint64_t state_of(int card) {
        const CardView& view = cards_[card];
        const Load& load = loads_[card];
        std::uint64_t h =
            mix(static_cast<std::uint64_t>(view.free_percent * 4 + view.empty * 2 + view.usable),
                static_cast<std::uint64_t>(view.memory_mib));
        h = mix(h, static_cast<std::uint64_t>(view.free_memory_mib));
        h = mix(
            h,
            static_cast<std::uint64_t>(load.reusable * 4 + load.nvidia * 2 + load.nvidia_reusable)
        );
        for (int p = 0; p < phases_; ++p) {
            h = mix(h, static_cast<std::uint64_t>(percent(card)[p]));
            h = mix(h, static_cast<std::uint64_t>(memory(card)[p]));
        }
        return h;
    }

    std::uint64_t state_at(int depth) {
        std::uint64_t sum = 0;  // of the cards, whatever their order
        for (int card = 0; card < static_cast<int>(cards_.size()); ++card) sum += state_of(card);
        return mix(sum, static_cast<std::uint64_t>(depth));
    }

    // Cheap proof that what is left from `depth` on cannot fit: only containers that run to the end
    // are counted, in the last phase.
    bool bound_holds(int depth) {
        int smallest = kCardUnits;
        int total = 0;
        int count = 0;
        const int from = std::max(depth, first_free_);
        for (int i = from; i < static_cast<int>(items_.size()); ++i) {
            const Item& item = items_[i];
            if (item.members.size() > 1) continue;  // a chain
            if (demands_[item.members[0]].kind == ContainerKind::kInit) continue;
            smallest = std::min(smallest, item.peak);
            total += item.peak * item.cards;
            count += item.cards;
        }
        if (count == 0) return true;
        int room = 0;
        int slots = 0;
        for (int card = 0; card < static_cast<int>(cards_.size()); ++card) {
            if (!cards_[card].usable || loads_[card].nvidia) continue;
            const int free = cards_[card].free_percent - percent(card)[phases_ - 1];
            if (free < smallest) continue;
            room += free;
            slots += free / smallest;
        }
        return room >= total && slots >= count;
    }

    bool place(int depth) {
        if (depth == static_cast<int>(items_.size())) return true;
        if (steps_-- <= 0 && dead_end_) {
            gave_up_ = true;
            return false;
        }
        if (dead_end_) {
            if (!bound_holds(depth)) return false;
            if (failed_.contains(state_at(depth))) return false;
        }
        collect(depth);
        frames_[depth].picked.clear();
        if (pick(depth, 0)) return true;
        dead_end_ = true;
        if (!gave_up_) failed_.insert(state_at(depth));
        return false;
    }

    void collect(int depth) {
        const Item& item = items_[depth];
        std::vector<Candidate>& candidates = frames_[depth].candidates;
        candidates.clear();
        for (int card = 0; card < static_cast<int>(cards_.size()); ++card) {
            if (!fits(item, card)) continue;
            const CardView& view = cards_[card];
            CardOption option;
            option.index = view.index;
            const int before = peak(card);
            add(item, card, +1);
            const int after = peak(card);
            add(item, card, -1);
            option.free_before = view.free_percent - before;
            option.free_after = view.free_percent - after;
            option.empty = view.empty && before == 0;
            option.memory_mib = view.memory_mib;
            // Cards whose IDs are re-used have to be among the picked ones: first.
            const bool reuses =
                item.cards > 1 && (item.nvidia ? loads_[card].nvidia_reusable
                                               : item.pooled && loads_[card].reusable > 0);
            const std::int64_t rank = reuses ? std::numeric_limits<std::int64_t>::min()
                                             : policy_->card_rank(option, *context_);
            candidates.push_back({rank, card, state_of(card)});
        }
        std::sort(
            candidates.begin(),
            candidates.end(),
            [&](const Candidate& a, const Candidate& b) {
                if (a.rank != b.rank) return a.rank < b.rank;
                if (cards_[a.card].index != cards_[b.card].index) {
                    return cards_[a.card].index < cards_[b.card].index;
                }
                return a.card < b.card;
            }
        );
        // On the first dive only: later it is about finding any way, in bounded time.
        if (item.whole && item.cards > 1 && policy_->follows_links && !dead_end_ &&
            !cards_.empty() && cards_[0].links != nullptr) {
            prefer_close(item, candidates);
        }
    }

    // Those that belong together first; what is re-used among them.
    void prefer_close(const Item& item, std::vector<Candidate>& candidates) {
        std::vector<int> ordered;
        std::vector<int> must;
        for (const Candidate& candidate : candidates) {
            if (candidate.rank == std::numeric_limits<std::int64_t>::min()) {
                must.push_back(static_cast<int>(ordered.size()));
            }
            ordered.push_back(candidate.card);
        }
        const CardChoice close =
            close_set(cards_, ordered, item.cards, must, static_cast<int>(ordered.size()));
        std::stable_partition(
            candidates.begin(),
            candidates.end(),
            [&](const Candidate& candidate) {
                return std::find(close.begin(), close.end(), candidate.card) != close.end();
            }
        );
    }

    // Chooses the rest of the item's cards among the candidates from `from` on, then goes deeper.
    bool pick(int depth, std::size_t from) {
        const Item& item = items_[depth];
        Frame& frame = frames_[depth];
        const std::size_t missing = static_cast<std::size_t>(item.cards) - frame.picked.size();
        if (missing == 0) return enter(depth);
        for (std::size_t i = from; i + missing <= frame.candidates.size(); ++i) {
            const std::uint64_t state = frame.candidates[i].state;
            const bool tried = std::any_of(
                frame.candidates.begin() + static_cast<std::ptrdiff_t>(from),
                frame.candidates.begin() + static_cast<std::ptrdiff_t>(i),
                [&](const Candidate& earlier) { return earlier.state == state; }
            );
            if (tried) continue;
            if (i > from && steps_-- <= 0) {
                gave_up_ = true;
                dead_end_ = true;
                return false;
            }
            frame.picked.push_back(frame.candidates[i].card);
            if (pick(depth, i + 1)) return true;
            frame.picked.pop_back();
            if (gave_up_) return false;
        }
        return false;
    }

    // The item's cards are picked: are they allowed together, and does the rest fit then?
    bool enter(int depth) {
        const Item& item = items_[depth];
        Frame& frame = frames_[depth];
        if (!pools_agree(item, frame.picked)) {
            dead_end_ = true;
            return false;
        }
        frame.saved.clear();
        for (const int card : frame.picked) frame.saved.push_back(loads_[card]);
        frame.pool = pool_;
        frame.nvidia_pool = nvidia_pool_;
        occupy(item, frame.picked);
        for (const int i : item.members) chosen_[i] = frame.picked;
        if (place(depth + 1)) return true;
        for (std::size_t i = 0; i < frame.picked.size(); ++i) {
            loads_[frame.picked[i]] = frame.saved[i];
            if (!item.nvidia) add(item, frame.picked[i], -1);
        }
        pool_ = frame.pool;
        nvidia_pool_ = frame.nvidia_pool;
        return false;
    }

    // min(n, |R|) of the IDs come from the pool: all of it, or nothing but it.
    bool pools_agree(const Item& item, const std::vector<int>& picked) const {
        if (item.nvidia) {
            int drawn = 0;
            for (const int card : picked) drawn += loads_[card].nvidia_reusable;
            return drawn == std::min(item.cards, nvidia_pool_);
        }
        if (!item.pooled || pool_ > item.peak * item.cards) return true;  // see pool_allows
        int drawn = 0;
        for (const int card : picked) drawn += loads_[card].reusable;
        return drawn == pool_;
    }

    void occupy(const Item& item, const std::vector<int>& picked) {
        const bool init = demands_[item.members[0]].kind == ContainerKind::kInit;
        for (const int card : picked) {
            Load& load = loads_[card];
            if (item.nvidia) {
                nvidia_pool_ += static_cast<int>(init) - static_cast<int>(load.nvidia_reusable);
                load.nvidia = true;
                load.nvidia_reusable = init;
                continue;
            }
            add(item, card, +1);
            if (!item.pooled) continue;
            const int after = init ? std::max(load.reusable, item.peak)
                                   : load.reusable - std::min(load.reusable, item.peak);
            pool_ += after - load.reusable;
            load.reusable = after;
        }
    }

    // of the request
    std::span<const Demand> demands_;
    int phases_;
    std::vector<Life> lives_;
    std::vector<Item> items_;
    int first_free_ = 0;  // items from here on touch no pool

    // of one run
    std::span<const CardView> cards_;
    const Policy* policy_ = nullptr;
    const PolicyContext* context_ = nullptr;
    int steps_ = 0;
    std::vector<Load> loads_;                   // by card
    std::vector<int> percent_;                  // by card and phase
    std::vector<std::int64_t> memory_;          // by card and phase
    int pool_ = 0;                              // percent IDs to re-use, on all cards
    int nvidia_pool_ = 0;                       // cards to re-use
    std::vector<std::vector<int>> chosen_;      // by demand
    std::vector<Frame> frames_;                 // by depth
    std::unordered_set<std::uint64_t> failed_;  // states without a way on
    bool dead_end_ = false;                     // the first dive is over
    bool gave_up_ = false;
};

CardSearch::CardSearch(std::vector<Demand> demands) : demands_(std::move(demands)) {
    if (demands_.size() > 1) search_ = std::make_unique<Search>(demands_);
}

CardSearch::~CardSearch() = default;

const std::vector<Demand>& CardSearch::demands() const {
    return demands_;
}

PlanStatus CardSearch::plan(
    std::span<const CardView> cards,
    const Policy& policy,
    const PolicyContext& context,
    int& steps,
    CardChoice& choice
) {
    if (search_) return search_->run(cards, policy, context, steps, choice);
    choice.clear();
    if (demands_.empty() || plan_one(cards, demands_[0], policy, context, choice)) {
        return PlanStatus::kFits;
    }
    return PlanStatus::kNoRoom;
}

}  // namespace egpu::core
