// kube-scheduler's calls to the extender, made as cheaply as possible so that the load generator
// does not measure itself: candidate nodes are written once and sent from there, answers are
// scanned, not parsed. The order of the candidates differs from call to call, as kube-scheduler's
// does: it begins where it stopped last time.
//
// One ExtenderTraffic per thread that calls cycle(); bind() may be called from many.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "http/client.h"

namespace egpu::sim::load {

struct Cycle {
    std::string node;    // "": nothing fits
    std::string reason;  // why the call failed, "" when it did not
    Duration filter{};
    Duration priorities{};  // 0 when there was at most one candidate left
    int score = -1;         // of the node, when priorities was asked
};

class Candidates {
  public:
    // `texts`: JSON of each node, or its quoted name.
    Candidates(std::vector<std::string> texts, bool names);

    // The same nodes in another order, as an array's inside.
    void append_to(std::string& body, Random& random) const;
    bool names() const { return names_; }
    std::size_t bytes() const { return bytes_; }

  private:
    std::vector<std::string> chunks_;  // runs of neighbours, joined by commas
    std::size_t bytes_ = 0;
    bool names_;
};

class ExtenderTraffic {
  public:
    ExtenderTraffic(http::Client& client, const Candidates& candidates, std::uint64_t seed)
        : client_(client), candidates_(candidates), random_(seed) {}

    // filter, then priorities of what is left, then the best, at random among equals.
    Cycle cycle(std::string_view pod_json);

  private:
    Result<std::string> post(const char* verb, std::string body, Duration& took);
    template <class Append>
    std::string body_with(std::string_view pod_json, Append&& append) const;
    void choose(std::string_view answer, Cycle& out);

    http::Client& client_;
    const Candidates& candidates_;
    Random random_;
};

// "" is success, else what kube-scheduler would write into its event.
std::string bind_pod(
    http::Client& client, std::string_view pod, std::string_view uid, std::string_view node
);

}  // namespace egpu::sim::load
