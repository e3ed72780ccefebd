// How close a node's cards are to each other, and which of the free ones belong together. Pure.
//
// A Link says of two cards which PCIe path joins them and how many NVLinks do. NVLinks through
// NVSwitches count as if they were direct: each card of such a fabric reaches every other with all
// of its links.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/card.h"

namespace egpu::core {

// What PCIe traffic between two cards passes, the farthest first.
enum class PciePath : std::uint8_t {
    kUnknown = 0,
    kSystem = 1,      // from one NUMA node to another
    kNumaNode = 2,    // several host bridges of one NUMA node
    kHostBridge = 3,  // one host bridge
    kSwitches = 4,    // several PCIe switches, no host bridge
    kSwitch = 5,      // one PCIe switch
    kBoard = 6,       // one board
};

inline constexpr int kMostNvlinks = 31;  // of a pair; no card has more than 18

// `nvlinks` is clamped to 0..kMostNvlinks.
Link make_link(PciePath path, int nvlinks);
PciePath path_of(Link link);  // kUnknown for a value that make_link never makes
int nvlinks_of(Link link);
// Ten for each step of PciePath, a hundred for each NVLink: NVIDIA's device plugin weighs alike.
int link_score(Link link);

// The link between two cards of a node: what is recorded, else what their NUMA nodes tell.
Link link_between(const Card& a, const Card& b);
// Records it at both. Ignored for indexes from kLinkedCards on (MIG instances, which have no
// peers).
void set_link(Card& a, Card& b, Link link);

// All pairs of a node: row by row, by position in `cards`. Empty when nothing tells one pair from
// another, or there are more than kLinkedCards cards.
std::vector<Link> link_matrix(std::span<const Card> cards);

// Free cards in order of preference, and how close each pair of them is.
class CloseCards {
  public:
    static constexpr int kExact = 16;  // up to so many the best set is exact

    explicit CloseCards(int cards);
    void set(int a, int b, Link link);  // symmetric

    // `count` of the cards, ascending; empty when there are not so many. First the highest sum of
    // link scores inside the set; of equal ones the set whose removal takes least from the rest
    // (the lowest sum of scores between the set and the cards it leaves free); then the lowest
    // positions. All of `must` are in it when they are no more than `count`. Beside them only the
    // first `eligible` cards are taken. Exact up to kExact cards, in well under a millisecond;
    // above, grown greedily from each card.
    std::vector<int> best(int count, std::span<const int> must = {}) const;
    std::vector<int> best(int count, std::span<const int> must, int eligible) const;

  private:
    std::size_t at(int a, int b) const {
        const auto row = static_cast<std::size_t>(a) * static_cast<std::size_t>(cards_);
        return row + static_cast<std::size_t>(b);
    }
    int score(int a, int b) const { return scores_[at(a, b)]; }
    std::vector<int> grown(int count, std::span<const int> must, int eligible) const;

    int cards_;
    std::vector<int> scores_;
    std::vector<int> sums_;  // of each card's scores to all others
};

// CloseCards::best over free cards of a node in order of preference: positions, or empty.
std::vector<int> closest_cards(std::span<const Card> free, int count, std::span<const int> must);

}  // namespace egpu::core
