// The recorded exchanges of the real kube-scheduler (1.34 and 1.21, both cache modes, preemption)
// against a replica and an API server that holds what the calls imply: four nodes of four cards,
// each pod as it was filtered, and our own binds. Every answer must have the right form; every
// placement must be right by an independent search over all assignments.
#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "k8s/codec.h"
#include "scheduler/cluster_for_test.h"

namespace egpu::scheduler {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;

constexpr int kCards = 4;
using Cards = std::array<int, kCards>;

// --- brute force, written apart from the planner ---

// The peak that `where` (a card for each container; unused for whole cards) puts on each card, or
// nullopt when the kubelet's re-use of init containers' devices could not follow it.
std::optional<Cards> peak(const core::PodRequest& request, const std::vector<int>& where) {
    Cards highest{};
    Cards running{};  // sidecars so far
    int pool = 0;     // device IDs left over from init containers …
    int pool_card = -1;
    const auto raise = [&](const Cards& now) {
        for (int c = 0; c < kCards; ++c) highest[c] = std::max(highest[c], now[c]);
    };
    for (std::size_t i = 0; i < request.containers.size(); ++i) {
        const core::ContainerRequest& container = request.containers[i];
        const int card = where[i];
        if (pool > 0 && card != pool_card) return std::nullopt;  // … are taken first
        if (container.kind == core::ContainerKind::kInit) {
            Cards now = running;
            now[card] += container.percent;
            raise(now);
            pool = std::max(pool, container.percent);
            pool_card = card;
            continue;
        }
        pool -= std::min(pool, container.percent);
        running[card] += container.percent;
        raise(running);
    }
    return highest;
}

bool feasible(const core::PodRequest& request, const Cards& used) {
    std::size_t whole = 0;
    for (const auto& container : request.containers) {
        if (container.whole) whole += static_cast<std::size_t>(container.cards);
    }
    if (whole > 0) {  // in the recordings such pods have one container
        return static_cast<std::size_t>(std::count(used.begin(), used.end(), 0)) >= whole;
    }
    std::vector<int> where(request.containers.size(), 0);
    const std::function<bool(std::size_t)> search = [&](std::size_t i) {
        if (i == where.size()) {
            const auto added = peak(request, where);
            if (!added) return false;
            for (int c = 0; c < kCards; ++c) {
                if (used[c] + (*added)[c] > 100) return false;
            }
            return true;
        }
        for (where[i] = 0; where[i] < kCards; ++where[i]) {
            if (search(i + 1)) return true;
        }
        return false;
    };
    return search(0);
}

// --- the replay ---

class Replay : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        const std::filesystem::path file =
            std::filesystem::path(EDGE_GPU_SHARED) / "extender" / GetParam();
        if (!std::filesystem::exists(file)) GTEST_SKIP() << file << " is not here";
        std::ifstream in(file);
        for (std::string line; std::getline(in, line);) {
            auto exchange = json::parse(line);
            ASSERT_TRUE(exchange.ok());
            exchanges.push_back(std::move(*exchange));
        }
        for (const char* node : {"gpu-a", "gpu-b", "gpu-c", "gpu-d"}) cluster.add_node(node, 400);
        cluster.start();
    }

    // What the API server's annotations say about each card of a node: not the ledger's word.
    Cards used(const std::string& node) {
        Cards sum{};
        for (const json::value& object : cluster.api().list(
                 "pods",
                 {.name_space = "", .field_selector = "spec.nodeName=" + node, .label_selector = ""}
             )) {
            const auto pod = k8s::pod_from_json(object);
            EXPECT_TRUE(pod.ok());
            const auto request = core::parse_request(pod->containers, pod->meta.annotations);
            EXPECT_TRUE(request.ok());
            std::vector<int> where;
            for (const auto& container : request->containers) {
                const auto value =
                    pod->meta.annotations.find("nano-gpu/container-" + container.name);
                EXPECT_NE(value, pod->meta.annotations.end()) << pod->meta.name;
                if (container.whole) {
                    std::size_t count = 0;
                    for (std::size_t at = 0; at < value->second.size(); at += 2, ++count) {
                        sum[value->second[at] - '0'] += 100;
                    }
                    EXPECT_EQ(count, static_cast<std::size_t>(container.cards));
                    continue;
                }
                EXPECT_THAT(value->second, AnyOf("0", "1", "2", "3"));
                where.push_back(value->second[0] - '0');
            }
            if (where.size() != request->containers.size()) continue;
            const auto added = peak(*request, where);
            EXPECT_TRUE(added.has_value()) << pod->meta.name << " ignores what the kubelet will do";
            if (added) {
                for (int c = 0; c < kCards; ++c) sum[c] += (*added)[c];
            }
        }
        for (const int percent : sum) EXPECT_LE(percent, 100) << node;
        return sum;
    }

    void learn_pod(const json::value& recorded) {
        json::value pod = recorded;
        const std::string name(json::get_string(pod, {"metadata", "name"}));
        if (cluster.api().get({"pods", "default", name}).ok()) return;
        pod.as_object()["kind"] = "Pod";
        pod.as_object()["apiVersion"] = "v1";
        pod.at("metadata").as_object().erase("resourceVersion");
        ASSERT_TRUE(cluster.api().load(pod).ok());
    }

    // kube-scheduler proposes a node for 400 percent only when it is empty: its pods were evicted.
    void apply_evictions(const json::value& pod, const std::vector<std::string>& nodes) {
        if (json::get_string(pod, {"metadata", "name"}) != "vip-big") return;
        for (const std::string& node : nodes) {
            for (const json::value& gone : cluster.api().list(
                     "pods",
                     {.name_space = "",
                     .field_selector = "spec.nodeName=" + node,
                     .label_selector = ""}
                 )) {
                const std::string name(json::get_string(gone, {"metadata", "name"}));
                ASSERT_TRUE(cluster.api().remove({"pods", "default", name}, 0).ok());
            }
            ASSERT_TRUE(eventually([&] { return cluster.used(node) == std::vector<int>(kCards, 0); }
            ));
        }
    }

    static std::vector<std::string> names_in(const json::value& in) {
        std::vector<std::string> out;
        if (const auto* names = json::get_array(in, {"NodeNames"})) {
            for (const auto& name : *names) out.emplace_back(name.as_string());
        } else if (const auto* items = json::get_array(in, {"Nodes", "items"})) {
            for (const auto& item : *items)
                out.emplace_back(json::get_string(item, {"metadata", "name"}));
        }
        return out;
    }

    void check_filter(const json::value& in) {
        const std::vector<std::string> nodes = names_in(in);
        learn_pod(in.at("Pod"));
        apply_evictions(in.at("Pod"), nodes);
        const json::value answer = cluster.call("filter", json::to_text(in));
        std::vector<std::string> keys;
        for (const auto& [key, value] : answer.as_object()) keys.emplace_back(key);
        ASSERT_THAT(
            keys,
            ElementsAre("Nodes", "NodeNames", "FailedNodes", "FailedAndUnresolvableNodes", "Error")
        );
        EXPECT_EQ(answer.at("Error").as_string(), "");

        const bool names_mode = !in.at("NodeNames").is_null();
        std::vector<std::string> fitting;
        if (names_mode) {
            EXPECT_TRUE(answer.at("Nodes").is_null());
            for (const auto& name : answer.at("NodeNames").as_array())
                fitting.emplace_back(name.as_string());
        } else {
            EXPECT_TRUE(answer.at("NodeNames").is_null());
            const json::array& sent = in.at("Nodes").at("items").as_array();
            for (const auto& item : answer.at("Nodes").at("items").as_array()) {
                fitting.emplace_back(json::get_string(item, {"metadata", "name"}));
                EXPECT_NE(std::find(sent.begin(), sent.end(), item), sent.end())
                    << "a node was changed";
            }
        }
        const auto pod = k8s::pod_from_json(in.at("Pod"));
        ASSERT_TRUE(pod.ok());
        const auto request = core::parse_request(pod->containers, pod->meta.annotations);
        ASSERT_TRUE(request.ok()) << request.error().message;
        std::multiset<std::string> seen(fitting.begin(), fitting.end());
        for (const char* key : {"FailedNodes", "FailedAndUnresolvableNodes"}) {
            for (const auto& [node, text] : answer.at(key).as_object()) {
                seen.emplace(node);
                EXPECT_NE(text.as_string(), "");
                EXPECT_EQ(text.as_string().find('%'), json::string::npos);
            }
        }
        EXPECT_EQ(seen, std::multiset<std::string>(nodes.begin(), nodes.end()));
        for (const std::string& node : nodes) {
            const bool fits = std::find(fitting.begin(), fitting.end(), node) != fitting.end();
            EXPECT_EQ(fits, feasible(*request, used(node))) << pod->meta.name << " on " << node;
        }
    }

    void check_priorities(const json::value& in) {
        const std::vector<std::string> nodes = names_in(in);
        const json::value answer = cluster.call("priorities", json::to_text(in));
        ASSERT_EQ(answer.as_array().size(), nodes.size());
        for (std::size_t i = 0; i < nodes.size(); ++i) {
            const json::object& entry = answer.as_array()[i].as_object();
            EXPECT_EQ(entry.size(), 2U);
            EXPECT_EQ(entry.at("Host").as_string(), nodes[i]);
            EXPECT_GE(entry.at("Score").as_int64(), 0);
            EXPECT_LE(entry.at("Score").as_int64(), 10);
        }
    }

    void check_bind(const json::value& in) {
        const std::string name(json::get_string(in, {"PodName"}));
        const std::string node(json::get_string(in, {"Node"}));
        const auto pod = k8s::pod_from_json(cluster.pod(name));
        ASSERT_TRUE(pod.ok());
        const auto request = core::parse_request(pod->containers, pod->meta.annotations);
        ASSERT_TRUE(request.ok());
        const bool possible = feasible(*request, used(node));
        const json::value answer = cluster.call("bind", json::to_text(in));
        ASSERT_EQ(answer.as_object().size(), 1U);
        EXPECT_EQ(answer.at("Error").as_string() == "", possible) << answer.at("Error");
        EXPECT_EQ(cluster.node_of(name), possible ? node : "");
        used(node);  // checks that no card is above 100
        ++(possible ? bound : refused);
    }

    void check_preempt(const json::value& in) {
        learn_pod(in.at("Pod"));
        const json::value answer = cluster.call("preempt", json::to_text(in));
        ASSERT_EQ(answer.as_object().size(), 1U);
        const json::value& full = in.at("NodeNameToVictims");
        const json::object& proposed =
            (full.is_null() ? in.at("NodeNameToMetaVictims") : full).as_object();
        for (const auto& [node, victims] : answer.at("NodeNameToMetaVictims").as_object()) {
            ASSERT_TRUE(proposed.contains(node));
            std::set<std::string> there;
            for (const auto& pod : cluster.api().list(
                     "pods",
                     {.name_space = "",
                     .field_selector = "spec.nodeName=" + std::string(node),
                     .label_selector = ""}
                 )) {
                there.emplace(json::get_string(pod, {"metadata", "uid"}));
            }
            for (const auto& pod : proposed.at(node).at("Pods").as_array()) {
                there.emplace(
                    full.is_null() ? json::get_string(pod, {"UID"})
                                   : json::get_string(pod, {"metadata", "uid"})
                );
            }
            EXPECT_FALSE(victims.at("Pods").as_array().empty());
            EXPECT_TRUE(victims.at("NumPDBViolations").is_int64());
            for (const auto& victim : victims.at("Pods").as_array()) {
                EXPECT_EQ(victim.as_object().size(), 1U);
                EXPECT_TRUE(there.contains(std::string(victim.at("UID").as_string())));
            }
        }
    }

    TestCluster cluster;
    std::vector<json::value> exchanges;
    int bound = 0;
    int refused = 0;
};

TEST_P(Replay, FormAndPlacementsAreRight) {
    for (std::size_t i = 0; i < exchanges.size() && !HasFatalFailure(); ++i) {
        SCOPED_TRACE(std::string(GetParam()) + " exchange " + std::to_string(i));
        const std::string_view path = json::get_string(exchanges[i], {"path"});
        const json::value& in = exchanges[i].at("in");
        if (path == "/scheduler/filter") {
            check_filter(in);
        } else if (path == "/scheduler/priorities") {
            check_priorities(in);
        } else if (path == "/scheduler/bind") {
            check_bind(in);
        } else {
            ASSERT_EQ(path, "/scheduler/preempt");
            check_preempt(in);
        }
    }
    EXPECT_GE(bound, 20) << "refused: " << refused;
    EXPECT_THAT(cluster.state().check_invariants(), ::testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(
    Recorded,
    Replay,
    ::testing::Values(
        "kube-scheduler-1.34-names.jsonl",
        "kube-scheduler-1.34-nodes.jsonl",
        "kube-scheduler-1.21-names.jsonl",
        "kube-scheduler-1.21-nodes.jsonl"
    ),
    [](const auto& test) {
        std::string name;
        for (const char* c = test.param; *c != '\0'; ++c) {
            if (std::isalnum(static_cast<unsigned char>(*c)) != 0) name += *c;
        }
        return name;
    }
);

}  // namespace
}  // namespace egpu::scheduler
