// A small, fast generator with a replayable seed; not for secrets. Satisfies
// UniformRandomBitGenerator, so it can drive std::shuffle. The sequence is part of what `--policy
// random` and the simulator promise: do not change it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>

namespace egpu {

// One step of SplitMix64: advances `state` and returns 64 well-mixed bits.
inline std::uint64_t splitmix64(std::uint64_t& state) {
    state += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

class Random {
  public:
    using result_type = std::uint64_t;
    explicit Random(std::uint64_t seed) : state_(seed) {}

    static constexpr result_type min() { return 0; }
    static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
    result_type operator()() { return splitmix64(state_); }

    // Uniform in [0, bound); bound > 0.
    std::uint64_t below(std::uint64_t bound) { return (*this)() % bound; }
    // Uniform in [low, high].
    int between(int low, int high) {
        const std::int64_t values = std::int64_t{high} - low + 1;
        return static_cast<int>(
            low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(values)))
        );
    }
    bool chance(double probability) {
        return static_cast<double>((*this)() >> 11) * 0x1.0p-53 < probability;
    }

  private:
    std::uint64_t state_;
};

// std::shuffle may differ between libraries.
template <typename Sequence>
void shuffle(Sequence& sequence, Random& random) {
    for (std::size_t left = sequence.size(); left > 1; --left) {
        std::swap(sequence[left - 1], sequence[random.below(left)]);
    }
}

}  // namespace egpu
