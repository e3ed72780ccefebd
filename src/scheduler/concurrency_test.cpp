// Binds beside filters, watch events, scrapes and status pages; meant for the thread sanitizer, and
// checked for double bookings in any build. The seed is printed and taken from EDGE_GPU_SEED.
#include <atomic>
#include <cstdlib>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "scheduler/cluster_for_test.h"

namespace egpu::scheduler {
namespace {

std::uint64_t seed() {
    const char* text = std::getenv("EDGE_GPU_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : 20261123;
}

TEST(Concurrency, ChurnNeverOvercommitsAndLeavesNothingBehind) {
    std::printf("EDGE_GPU_SEED=%llu\n", static_cast<unsigned long long>(seed()));
    TestCluster cluster;
    std::vector<std::string> nodes;
    for (int i = 0; i < 4; ++i) {
        nodes.push_back("n" + std::to_string(i));
        ASSERT_TRUE(cluster.api().load(node_with_cards_json(nodes.back(), 2)).ok());
    }
    cluster.start();
    // Now and then a bind fails, is refused, or loses its answer.
    auto& faults = cluster.api().faults();
    std::atomic<bool> done{false};
    std::atomic<int> bound{0};
    std::vector<std::thread> threads;
    for (int worker = 0; worker < 4; ++worker) {
        threads.emplace_back([&, worker] {
            Random random(seed() + static_cast<std::uint64_t>(worker));
            for (int i = 0; i < 40; ++i) {
                TestPod pod = share_pod(
                    "p" + std::to_string(worker) + "-" + std::to_string(i), random.between(1, 100)
                );
                ASSERT_TRUE(cluster.api().load(pod_json(pod)).ok());
                if (random.chance(0.1))
                    faults.fail_next(1, "POST", "/binding$", random.chance(0.5) ? 409 : 500);
                if (random.chance(0.1)) faults.drop_after_commit(1, "POST", "/binding$");
                http::ClientOptions options;
                options.base_url = "http://" + cluster.service().address();
                auto client = http::Client::open(options);
                ASSERT_TRUE(client.ok());
                const auto call = [&](const char* verb, const std::string& body) {
                    http::Request request;
                    request.method = "POST";
                    request.target = std::string("/scheduler/") + verb;
                    request.body = body;
                    auto response = (*client)->call(request, MonoClock::now() + Seconds(30));
                    EXPECT_TRUE(response.ok());
                    auto parsed = json::parse(response ? response->body : "{}");
                    return parsed ? *parsed : json::value();
                };
                const json::value answer = call("filter", filter_body(pod, nodes));
                const auto* fitting = json::get_array(answer, {"NodeNames"});
                ASSERT_NE(fitting, nullptr);
                if (!fitting->empty()) {
                    const auto& node = (*fitting)[random.below(fitting->size())].as_string();
                    const json::value result = call("bind", bind_body(pod, node));
                    if (json::get_string(result, {"Error"}).empty()) ++bound;
                }
                if (random.chance(0.9)) {
                    ASSERT_TRUE(cluster.api().remove({"pods", "default", pod.name}, 0).ok());
                }
            }
        });
    }
    std::thread reader([&] {
        while (!done) {
            EXPECT_EQ(cluster.request("GET", "/status").status, 200);
            EXPECT_EQ(cluster.request("GET", "/metrics").status, 200);
            EXPECT_EQ(cluster.request("GET", "/readyz").status, 200);
        }
    });
    std::thread breaker([&] {
        Random random(seed() + 99);
        while (!done) {
            std::this_thread::sleep_for(Millis(50));
            if (random.chance(0.3)) faults.break_watches();
            // Cards come and go.
            static_cast<void>(cluster.api().load(node_with_cards_json("n3", random.between(2, 3))));
        }
    });
    for (auto& thread : threads) thread.join();
    done = true;
    reader.join();
    breaker.join();
    ASSERT_TRUE(faults.clear().ok());
    EXPECT_GT(bound, 20);
    // What is bound by the API server's word fits on the cards.
    std::map<std::string, int> sums;
    for (const auto& pod : cluster.api().list("pods")) {
        const std::string node(json::get_string(pod, {"spec", "nodeName"}));
        if (node.empty()) continue;
        const std::string card(
            json::get_string(pod, {"metadata", "annotations", "nano-gpu/container-main"})
        );
        ASSERT_NE(card, "") << "bound without a placement";
        const std::string percent(json::get_string(
            pod.at("spec").at("containers").as_array()[0],
            {"resources", "limits", "nano-gpu/gpu-percent"}
        ));
        sums[node + "/" + card] += std::stoi(percent);
    }
    for (const auto& [card, sum] : sums) EXPECT_LE(sum, 100) << card;
    for (const auto& pod : cluster.api().list("pods")) {
        const std::string name(json::get_string(pod, {"metadata", "name"}));
        ASSERT_TRUE(cluster.api().remove({"pods", "default", name}, 0).ok());
    }
    EXPECT_TRUE(eventually(
        [&] {
            const auto totals = cluster.state().totals();
            return totals.used_percent == 0 && totals.pods == 0 && totals.reservations == 0 &&
                   cluster.state().pending_count() == 0;
        },
        Seconds(40)
    ));
    EXPECT_THAT(cluster.state().check_invariants(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace egpu::scheduler
