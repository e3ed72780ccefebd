#include "simulate/trace.h"

#include <algorithm>
#include <set>
#include <utility>

#include "simulate/csv.h"

namespace egpu::simulate {
namespace {

// The last number is kept for models that no node has.
constexpr int kNoSuchModel = core::kMaxModels - 1;
constexpr std::int64_t kMost = core::kUnlimited - 1;
constexpr std::int64_t kMostSeconds = std::int64_t{1} << 40;

Result<core::ModelId> model_number(
    std::string_view name,
    std::vector<std::string>& models,
    const CsvRecord& record,
    std::optional<std::size_t> column
) {
    const auto it = std::find(models.begin(), models.end(), name);
    if (it != models.end()) return static_cast<core::ModelId>(it - models.begin());
    if (models.size() >= static_cast<std::size_t>(kNoSuchModel)) {
        return record.error(column, "more than 62 different models; merge some");
    }
    models.emplace_back(name);
    return static_cast<core::ModelId>(models.size() - 1);
}

std::uint64_t allowed_models(std::string_view spec, const Cluster& cluster) {
    std::uint64_t mask = 0;
    while (!spec.empty()) {
        const std::size_t bar = spec.find('|');
        const std::string_view name = spec.substr(0, bar);
        spec.remove_prefix(bar == std::string_view::npos ? spec.size() : bar + 1);
        if (name.empty()) continue;
        const auto it = std::find(cluster.models.begin(), cluster.models.end(), name);
        const auto id = it == cluster.models.end() ? kNoSuchModel : it - cluster.models.begin();
        mask |= std::uint64_t{1} << id;
    }
    return mask;
}

std::string stem(const std::string& file) {
    std::string name = file.substr(file.rfind('/') + 1);  // npos + 1 == 0
    if (const std::size_t dot = name.rfind('.'); dot != std::string::npos && dot > 0) {
        name.resize(dot);
    }
    return name;
}

Error names_twice(const CsvRecord& record, std::size_t column) {
    return record.error(
        column, "\"" + std::string(record.text(column)) + "\" is there twice; names must differ"
    );
}

struct PodColumns {
    std::size_t name = 0, cpu = 0, memory = 0, cards = 0, milli = 0;
    std::optional<std::size_t> spec, created, deleted;
};

Result<TracePod> parse_pod(
    const CsvRecord& record, const PodColumns& column, const Cluster& cluster, std::size_t& rounded
) {
    TracePod pod;
    pod.name = record.text(column.name);
    EG_TRY(const std::int64_t cpu, record.number(column.cpu, 0, kMost));
    EG_TRY(const std::int64_t memory, record.number(column.memory, 0, kMost));
    EG_TRY(const std::int64_t cards, record.number(column.cards, 0, core::kRoomCards));
    EG_TRY(const std::int64_t milli, record.number(column.milli, 0, 1000, 0));
    if (cards > 0 && milli == 0) {
        return record.error(column.milli, "0 of a card, but num_gpu asks for cards");
    }
    pod.shape.cpu_milli = static_cast<std::int32_t>(cpu);
    pod.shape.memory_mib = static_cast<std::int32_t>(memory);
    pod.shape.cards = static_cast<std::uint8_t>(cards);
    if (cards > 0) {
        pod.shape.percent = static_cast<std::uint8_t>((milli + 9) / 10);
        pod.shape.models = allowed_models(record.text(column.spec), cluster);
        if (milli % 10 != 0) ++rounded;
    }
    if (!record.text(column.created).empty()) {
        EG_TRY(pod.created, record.number(column.created, 0, kMostSeconds));
        if (!record.text(column.deleted).empty()) {
            EG_TRY(
                const std::int64_t deleted,
                record.number(column.deleted, *pod.created, kMostSeconds)
            );
            pod.lifetime = deleted - *pod.created;
        }
    }
    return pod;
}

}  // namespace

int Cluster::cards() const {
    int sum = 0;
    for (const TraceNode& node : nodes) sum += node.room.cards;
    return sum;
}

Result<Cluster> parse_cluster(const std::string& file, std::string_view text) {
    EG_TRY(const CsvTable table, CsvTable::parse(file, text));
    EG_TRY(const std::size_t name, table.required_column("sn"));
    EG_TRY(const std::size_t cpu, table.required_column("cpu_milli"));
    EG_TRY(const std::size_t memory, table.required_column("memory_mib"));
    EG_TRY(const std::size_t cards, table.required_column("gpu"));
    const auto model = table.column("model");
    Cluster cluster;
    cluster.models.emplace_back();
    std::set<std::string, std::less<>> names;
    for (std::size_t i = 0; i < table.size(); ++i) {
        const CsvRecord record = table[i];
        TraceNode node;
        node.name = record.text(name);
        if (node.name.empty()) return record.error(name, "a node needs a name");
        if (!names.insert(node.name).second) return names_twice(record, name);
        EG_TRY(const std::int64_t milli, record.number(cpu, 0, kMost));
        EG_TRY(const std::int64_t mib, record.number(memory, 0, kMost));
        EG_TRY(const std::int64_t count, record.number(cards, 0, core::kRoomCards));
        EG_TRY(node.room.model, model_number(record.text(model), cluster.models, record, model));
        node.room.cpu_milli = static_cast<std::int32_t>(milli);
        node.room.memory_mib = static_cast<std::int32_t>(mib);
        node.room.cards = static_cast<std::uint8_t>(count);
        for (int card = 0; card < node.room.cards; ++card) node.room.free[card] = 100;
        cluster.nodes.push_back(std::move(node));
    }
    if (cluster.cards() == 0) {
        return Error{ErrorCode::kInvalid, file + ": no node has a card (column gpu)"};
    }
    std::sort(cluster.nodes.begin(), cluster.nodes.end(), [](const auto& a, const auto& b) {
        return a.name < b.name;
    });
    return cluster;
}

Result<Workload> parse_workload(
    const std::string& file, std::string_view text, const Cluster& cluster
) {
    EG_TRY(const CsvTable table, CsvTable::parse(file, text));
    PodColumns column;
    EG_TRY(column.name, table.required_column("name"));
    EG_TRY(column.cpu, table.required_column("cpu_milli"));
    EG_TRY(column.memory, table.required_column("memory_mib"));
    EG_TRY(column.cards, table.required_column("num_gpu"));
    EG_TRY(column.milli, table.required_column("gpu_milli"));
    column.spec = table.column("gpu_spec");
    column.created = table.column("creation_time");
    column.deleted = table.column("deletion_time");
    Workload workload;
    workload.name = stem(file);
    std::set<std::string, std::less<>> names;
    bool any_cards = false;
    for (std::size_t i = 0; i < table.size(); ++i) {
        EG_TRY(TracePod pod, parse_pod(table[i], column, cluster, workload.rounded));
        if (pod.name.empty()) return table[i].error(column.name, "a pod needs a name");
        if (!names.insert(pod.name).second) return names_twice(table[i], column.name);
        any_cards = any_cards || pod.shape.cards > 0;
        workload.pods.push_back(std::move(pod));
    }
    if (!any_cards) {
        return Error{ErrorCode::kInvalid, file + ": no pod asks for a card (column num_gpu)"};
    }
    std::sort(workload.pods.begin(), workload.pods.end(), [](const auto& a, const auto& b) {
        return a.name < b.name;
    });
    return workload;
}

}  // namespace egpu::simulate
