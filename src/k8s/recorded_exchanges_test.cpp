// The recorded calls of real kube-schedulers (1.21 and 1.34, both cache modes, preemption) read by
// the streaming reader and compared with a DOM of the same text; answers are written for each.
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/json.h"
#include "k8s/codec.h"
#include "k8s/extender.h"

namespace egpu::k8s {
namespace {

void expect_same_pod(const Pod& a, const Pod& b) {
    EXPECT_EQ(a.meta.key(), b.meta.key());
    EXPECT_EQ(a.meta.uid, b.meta.uid);
    EXPECT_EQ(a.meta.annotations, b.meta.annotations);
    EXPECT_EQ(a.node_name, b.node_name);
    EXPECT_EQ(a.phase, b.phase);
    EXPECT_EQ(a.priority, b.priority);
    ASSERT_EQ(a.containers.size(), b.containers.size());
    for (std::size_t i = 0; i < a.containers.size(); ++i) {
        EXPECT_EQ(a.containers[i].name, b.containers[i].name);
        EXPECT_EQ(a.containers[i].kind, b.containers[i].kind);
        EXPECT_EQ(a.containers[i].percent, b.containers[i].percent);
        EXPECT_EQ(a.containers[i].whole, b.containers[i].whole);
    }
}

std::vector<std::string> names_of(const json::value& in) {
    std::vector<std::string> names;
    if (const auto* list = json::get_array(in, {"NodeNames"})) {
        for (const auto& name : *list) names.emplace_back(name.get_string().c_str());
    } else if (const auto* nodes = json::get_array(in, {"Nodes", "items"})) {
        for (const auto& node : *nodes)
            names.emplace_back(json::get_string(node, {"metadata", "name"}));
    }
    return names;
}

void check_filter(const json::value& in, const ExtenderArgs& args) {
    expect_same_pod(*args.pod, *pod_from_json(in.at("Pod")));
    const auto names = names_of(in);
    ASSERT_EQ(args.nodes.size(), names.size());
    std::vector<std::uint32_t> fitting;
    std::vector<FailedNode> failed;
    const FilterReason reasons[] = {
        {"no card with 60 percent free", false}, {"no card with 60 percent free", true}};
    std::vector<int> scores;
    for (std::size_t i = 0; i < names.size(); ++i) {
        EXPECT_EQ(args.nodes[i], names[i]);
        const auto position = static_cast<std::uint32_t>(i);
        if (i % 2 == 0) {
            fitting.push_back(position);
        } else {
            failed.push_back({position, i % 4 == 1 ? 1U : 0U});
        }
        scores.push_back(static_cast<int>(i % 11));
    }
    const auto out = json::parse(write_filter_result(args, fitting, failed, reasons).text());
    ASSERT_TRUE(out);
    if (args.names_mode) {
        EXPECT_EQ(json::get_array(*out, {"NodeNames"})->size(), fitting.size());
        EXPECT_TRUE(out->at("Nodes").is_null());
    } else {
        const auto& echoed = *json::get_array(*out, {"Nodes", "items"});
        ASSERT_EQ(echoed.size(), fitting.size());
        for (std::size_t i = 0; i < fitting.size(); ++i) {
            EXPECT_EQ(echoed[i], in.at("Nodes").at("items").at(fitting[i])) << "unchanged";
        }
    }
    EXPECT_EQ(
        out->at("FailedNodes").as_object().size() +
            out->at("FailedAndUnresolvableNodes").as_object().size(),
        failed.size()
    );
    const auto list = json::parse(write_priorities(args, scores));
    ASSERT_TRUE(list);
    EXPECT_EQ(list->as_array().size(), names.size());
}

void check_preemption(const json::value& in, const ExtenderPreemptionArgs& args) {
    expect_same_pod(*args.pod, *pod_from_json(in.at("Pod")));
    const bool full = in.at("NodeNameToVictims").is_object();
    const auto& nodes = in.at(full ? "NodeNameToVictims" : "NodeNameToMetaVictims").as_object();
    ASSERT_EQ(args.nodes.size(), nodes.size());
    for (const ExtenderVictims& victims : args.nodes) {
        const auto& pods = nodes.at(victims.node).at("Pods").as_array();
        ASSERT_EQ(victims.uids.size(), pods.size());
        ASSERT_EQ(victims.pods.size(), full ? pods.size() : 0U);
        for (std::size_t i = 0; i < pods.size(); ++i) {
            const auto uid = full ? json::get_string(pods[i], {"metadata", "uid"})
                                  : json::get_string(pods[i], {"UID"});
            EXPECT_EQ(victims.uids[i], uid);
            if (full) expect_same_pod(victims.pods[i], *pod_from_json(pods[i]));
        }
    }
    const auto out = json::parse(write_preemption_result(args.nodes));
    ASSERT_TRUE(out);
    EXPECT_EQ(out->at("NodeNameToMetaVictims").as_object().size(), nodes.size());
}

TEST(RecordedExchanges, AreReadAsTheDomReadsThem) {
    const std::filesystem::path folder = std::filesystem::path(EDGE_GPU_SHARED) / "extender";
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no recorded exchanges at " << folder;
    int total = 0;
    ExtenderReader reader;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() != ".jsonl") continue;
        std::ifstream lines(entry.path());
        std::string line;
        while (std::getline(lines, line)) {
            const auto record = json::parse(line);
            ASSERT_TRUE(record);
            const json::value& in = record->at("in");
            const std::string body = json::to_text(in);
            reader.reset();
            const std::size_t piece = 1 + static_cast<std::size_t>(total) * 37 % 5000;
            for (std::size_t at = 0; at < body.size(); at += piece) {
                const auto fed = reader.feed({body.data() + at, std::min(piece, body.size() - at)});
                ASSERT_TRUE(fed) << fed.error().message;
            }
            const std::string_view path = json::get_string(*record, {"path"});
            SCOPED_TRACE(entry.path().filename().string() + " " + std::string(path));
            if (path.ends_with("/bind")) {
                const auto args = reader.binding_args();
                ASSERT_TRUE(args) << args.error().message;
                EXPECT_EQ(args->pod_uid, json::get_string(in, {"PodUID"}));
                EXPECT_EQ(args->node, json::get_string(in, {"Node"}));
            } else if (path.ends_with("/preempt")) {
                const auto args = reader.preemption_args();
                ASSERT_TRUE(args) << args.error().message;
                check_preemption(in, **args);
            } else {
                const auto args = reader.args();
                ASSERT_TRUE(args) << args.error().message;
                EXPECT_EQ(
                    (*args)->names_mode, entry.path().string().find("-names") != std::string::npos
                );
                check_filter(in, **args);
            }
            ++total;
        }
    }
    EXPECT_GE(total, 355);
}

}  // namespace
}  // namespace egpu::k8s
