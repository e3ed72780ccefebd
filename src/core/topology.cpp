#include "core/topology.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

namespace egpu::core {
namespace {

constexpr int kPathBits = 3;

// Depth first over the sets in lexicographic order, so that the first of equal sets stays. The
// bound: no pair that is still to come is closer than the closest pair there is.
class BestSet {
  public:
    BestSet(
        const int* scores,
        const int* sums,
        int cards,
        int count,
        std::uint32_t allowed,
        std::uint32_t forced
    )
        : scores_(scores),
          sums_(sums),
          cards_(cards),
          count_(count),
          allowed_(allowed),
          forced_(forced) {
        for (int a = 0; a < cards; ++a) {
            for (int b = a + 1; b < cards; ++b) closest_ = std::max(closest_, score(a, b));
        }
    }

    std::uint32_t find() {
        visit(0, 0, 0, 0, 0);
        return best_;
    }

  private:
    int score(int a, int b) const { return scores_[a * cards_ + b]; }

    void visit(int from, int taken, std::uint32_t set, int inside, int sums) {
        if (std::popcount(forced_ & ~set) > count_ - taken) return;
        if (taken == count_) {
            // What is cut off is sums - 2 * inside: with equal insides the sums decide.
            if (inside > best_inside_ || (inside == best_inside_ && sums < best_sums_)) {
                best_ = set;
                best_inside_ = inside;
                best_sums_ = sums;
            }
            return;
        }
        const int pairs = (count_ * (count_ - 1) - taken * (taken - 1)) / 2;
        if (inside + pairs * closest_ < best_inside_) return;
        for (int card = from; card < cards_; ++card) {
            const std::uint32_t bit = 1U << card;
            if ((allowed_ & bit) != 0) {
                const int left = std::popcount(allowed_ >> card);
                if (left < count_ - taken) return;
                int more = inside;
                for (std::uint32_t rest = set; rest != 0; rest &= rest - 1) {
                    more += score(card, std::countr_zero(rest));
                }
                visit(card + 1, taken + 1, set | bit, more, sums + sums_[card]);
            }
            if ((forced_ & bit) != 0) return;  // no set without it
        }
    }

    const int* scores_;
    const int* sums_;
    int cards_;
    int count_;
    std::uint32_t allowed_;
    std::uint32_t forced_;
    int closest_ = 0;
    std::uint32_t best_ = 0;
    int best_inside_ = -1;
    int best_sums_ = 0;
};

}  // namespace

Link make_link(PciePath path, int nvlinks) {
    return static_cast<Link>(
        static_cast<unsigned>(path) | static_cast<unsigned>(std::clamp(nvlinks, 0, kMostNvlinks))
                                          << kPathBits
    );
}

PciePath path_of(Link link) {
    const unsigned path = link & ((1U << kPathBits) - 1);
    return path > static_cast<unsigned>(PciePath::kBoard) ? PciePath::kUnknown
                                                          : static_cast<PciePath>(path);
}

int nvlinks_of(Link link) {
    return link >> kPathBits;
}

int link_score(Link link) {
    return 10 * static_cast<int>(path_of(link)) + 100 * nvlinks_of(link);
}

Link link_between(const Card& a, const Card& b) {
    if (b.index >= 0 && static_cast<std::size_t>(b.index) < a.links.size()) {
        const Link link = a.links[static_cast<std::size_t>(b.index)];
        if (link != 0) return link;
    }
    if (a.numa < 0 || b.numa < 0) return 0;
    return make_link(a.numa == b.numa ? PciePath::kNumaNode : PciePath::kSystem, 0);
}

void set_link(Card& a, Card& b, Link link) {
    if (link == 0 || a.index < 0 || b.index < 0 || a.index == b.index) return;
    if (a.index >= kLinkedCards || b.index >= kLinkedCards) return;
    const auto record = [link](Card& at, int to) {
        const auto index = static_cast<std::size_t>(to);
        if (at.links.size() <= index) at.links.resize(index + 1);
        at.links[index] = link;
    };
    record(a, b.index);
    record(b, a.index);
}

std::vector<Link> link_matrix(std::span<const Card> cards) {
    const std::size_t n = cards.size();
    if (n < 3 || n > static_cast<std::size_t>(kLinkedCards)) return {};  // two make one pair
    std::vector<Link> matrix(n * n);
    bool alike = true;
    for (std::size_t a = 0; a < n; ++a) {
        for (std::size_t b = a + 1; b < n; ++b) {
            const Link link = link_between(cards[a], cards[b]);
            matrix[a * n + b] = matrix[b * n + a] = link;
            alike = alike && link == matrix[1];
        }
    }
    if (alike) return {};
    return matrix;
}

CloseCards::CloseCards(int cards)
    : cards_(cards),
      scores_(static_cast<std::size_t>(cards) * static_cast<std::size_t>(cards)),
      sums_(static_cast<std::size_t>(cards)) {}

void CloseCards::set(int a, int b, Link link) {
    const int change = link_score(link) - score(a, b);
    scores_[at(a, b)] += change;
    scores_[at(b, a)] += change;
    sums_[static_cast<std::size_t>(a)] += change;
    sums_[static_cast<std::size_t>(b)] += change;
}

std::vector<int> CloseCards::best(int count, std::span<const int> must) const {
    return best(count, must, cards_);
}

std::vector<int> CloseCards::best(int count, std::span<const int> must, int eligible) const {
    if (count <= 0 || count > cards_) return {};
    if (static_cast<int>(must.size()) > count) must = must.first(static_cast<std::size_t>(count));
    if (cards_ > kExact) return grown(count, must, eligible);
    std::uint32_t forced = 0;
    for (const int card : must) forced |= 1U << card;
    const std::uint32_t allowed = forced | ((1U << std::clamp(eligible, 0, cards_)) - 1);
    if (std::popcount(allowed) < count) return {};
    std::uint32_t set =
        BestSet(scores_.data(), sums_.data(), cards_, count, allowed, forced).find();
    std::vector<int> cards;
    for (; set != 0; set &= set - 1) cards.push_back(std::countr_zero(set));
    return cards;
}

std::vector<int> closest_cards(std::span<const Card> free, int count, std::span<const int> must) {
    CloseCards close(static_cast<int>(free.size()));
    for (int a = 0; a < static_cast<int>(free.size()); ++a) {
        for (int b = a + 1; b < static_cast<int>(free.size()); ++b) {
            close.set(a, b, link_between(free[a], free[b]));
        }
    }
    return close.best(count, must);
}

std::vector<int> CloseCards::grown(int count, std::span<const int> must, int eligible) const {
    std::vector<int> best;
    int best_inside = -1;
    int best_sums = 0;
    for (int seed = 0; seed < cards_; ++seed) {
        std::vector<int> set(must.begin(), must.end());
        const auto has = [&](int card) {
            return std::find(set.begin(), set.end(), card) != set.end();
        };
        if (!has(seed) && seed < eligible && static_cast<int>(set.size()) < count) {
            set.push_back(seed);
        }
        while (static_cast<int>(set.size()) < count) {
            int next = -1;
            int most = -1;
            for (int card = 0; card < std::min(eligible, cards_); ++card) {
                if (has(card)) continue;
                int gain = 0;
                for (const int other : set) gain += score(card, other);
                const bool better =
                    gain > most || (gain == most && sums_[static_cast<std::size_t>(card)] <
                                                        sums_[static_cast<std::size_t>(next)]);
                if (better) {
                    most = gain;
                    next = card;
                }
            }
            if (next < 0) return {};
            set.push_back(next);
        }
        std::sort(set.begin(), set.end());
        int inside = 0;
        int sums = 0;
        for (std::size_t i = 0; i < set.size(); ++i) {
            sums += sums_[static_cast<std::size_t>(set[i])];
            for (std::size_t j = i + 1; j < set.size(); ++j) inside += score(set[i], set[j]);
        }
        if (inside > best_inside || (inside == best_inside && sums < best_sums)) {
            best = std::move(set);
            best_inside = inside;
            best_sums = sums;
        }
    }
    return best;
}

}  // namespace egpu::core
