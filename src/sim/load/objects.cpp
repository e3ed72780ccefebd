#include "sim/load/objects.h"

#include <array>
#include <cstdio>

#include "core/card.h"
#include "gpu/cards_annotation.h"

namespace egpu::sim::load {

namespace {

// Percent, weight, CPU in thousandths and MiB for each of them.
struct Size {
    int percent;
    int weight;
    int cpu_milli;
    int memory_mib;
};
constexpr std::array kSizes{
    Size{10, 4, 1000, 4096},
    Size{20, 5, 2000, 8192},
    Size{25, 5, 2000, 8192},
    Size{30, 5, 4000, 12288},
    Size{47, 6, 4000, 16384},
    Size{50, 10, 6000, 16384},
    Size{65, 4, 6000, 24576},
    Size{81, 12, 8000, 32768},
    Size{100, 38, 8000, 32768},
    Size{200, 6, 16000, 65536},
    Size{400, 2, 32000, 131072},
    Size{800, 3, 64000, 262144},
};

}  // namespace

std::string node_name(int i) {
    std::array<char, 48> text{};
    std::snprintf(text.data(), text.size(), "gpu-node-%05d.cluster.example", i);
    return text.data();
}

json::value node_object(int i, int cards, bool images) {
    const std::string name = node_name(i);
    std::vector<core::Card> list;
    for (int c = 0; c < cards; ++c) {
        core::Card card;
        card.uuid = "GPU-" + std::to_string(100000 + i) + "-" + std::to_string(c);
        card.index = c;
        card.model = i % 4 == 0 ? "Tesla T4" : i % 4 == 1 ? "NVIDIA A10" : "NVIDIA A100-SXM4-40GB";
        card.memory_mib = 15360;
        list.push_back(std::move(card));
    }
    const json::object amounts{
        {"cpu", "128"},
        {"memory", "512Gi"},
        {"pods", "250"},
        {"nano-gpu/gpu-percent", std::to_string(cards * 100)}};
    json::object status{
        {"allocatable", amounts},
        {"capacity", amounts},
        {"conditions", json::array{{{"type", "Ready"}, {"status", "True"}}}}};
    if (images) {
        json::array names;
        for (int n = 0; n < 44; ++n) {
            names.push_back(json::object{
                {"names", json::array{"registry.example/some/image-" + std::to_string(n) + ":v1"}},
                {"sizeBytes", 123456789 + n}});
        }
        status["images"] = std::move(names);
    }
    return {
        {"apiVersion", "v1"},
        {"kind", "Node"},
        {"metadata",
         {{"name", name}, {"annotations", {{gpu::kAnnotationCards, gpu::encode_cards(list)}}}}},
        {"status", std::move(status)}};
}

PodPlan draw_pod(std::uint64_t number, Random& random) {
    int total = 0;
    for (const Size& size : kSizes) total += size.weight;
    int at = static_cast<int>(random.below(static_cast<std::uint64_t>(total)));
    const Size* drawn = kSizes.data();
    while (at >= drawn->weight) at -= (drawn++)->weight;
    PodPlan plan;
    plan.name = "load-" + std::to_string(number);
    plan.percent = drawn->percent;
    plan.cpu_milli = drawn->cpu_milli;
    plan.memory_mib = drawn->memory_mib;
    return plan;
}

json::value pod_object(const PodPlan& plan) {
    const json::object amounts{
        {"cpu", std::to_string(plan.cpu_milli) + "m"},
        {"memory", std::to_string(plan.memory_mib) + "Mi"},
        {"nano-gpu/gpu-percent", std::to_string(plan.percent)}};
    return {
        {"apiVersion", "v1"},
        {"kind", "Pod"},
        {"metadata",
         {{"name", plan.name}, {"namespace", "default"}, {"labels", {{"app", "load"}}}}},
        {"spec",
         {{"schedulerName", "default-scheduler"},
          {"containers",
           json::array{
               {{"name", "main"},
                {"image", "registry.example/train:v1"},
                {"command", json::array{"python", "train.py", "--epochs", "10"}},
                {"resources", {{"limits", amounts}, {"requests", amounts}}}}}}}}};
}

}  // namespace egpu::sim::load
