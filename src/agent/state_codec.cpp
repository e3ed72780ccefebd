// The text of the state file.
#include <set>

#include "agent/state_file.h"
#include "base/checksum.h"
#include "base/json.h"

namespace egpu::agent {
namespace {

constexpr std::string_view kFormat = "edge-gpu-agent";
constexpr int kVersion = 1;
constexpr std::size_t kMaxRecords = 20'000;
constexpr std::size_t kMaxCards = 1'024;
constexpr std::size_t kMaxText = 1'024;

Error corrupt(std::string what) {
    return {ErrorCode::kCorrupt, std::move(what)};
}

std::string_view kind_text(const std::optional<core::ContainerKind>& kind) {
    if (!kind) return "";
    switch (*kind) {
        case core::ContainerKind::kInit:
            return "init";
        case core::ContainerKind::kSidecar:
            return "sidecar";
        case core::ContainerKind::kApp:
            return "app";
    }
    return "";
}

json::object to_json(const core::Card& card) {
    return {
        {"uuid", card.uuid},
        {"index", card.index},
        {"model", card.model},
        {"memoryMiB", card.memory_mib},
        {"numa", card.numa},
        {"healthy", card.healthy}};
}

json::object to_json(const Record& record) {
    json::array cards;
    for (const core::CardShare& card : record.cards) {
        cards.push_back(json::object{
            {"uuid", card.uuid},
            {"index", card.index},
            {"percent", card.percent},
            {"memoryMiB", card.memory_mib}});
    }
    json::array ids;
    for (const std::string& id : record.ids) ids.emplace_back(id);
    json::object object{
        {"token", record.token},
        {"resource", resource_name(record.resource)},
        {"ids", std::move(ids)},
        {"cards", std::move(cards)},
        {"group", record.group},
        {"podUID", record.holder.pod_uid},
        {"namespace", record.holder.pod_namespace},
        {"pod", record.holder.pod_name},
        {"container", record.holder.container},
        {"kind", kind_text(record.holder.kind)},
        {"confirmed", record.holder.confirmed},
        {"time", record.time}};
    if (record.guarded) object["guarded"] = true;
    return object;
}

Result<std::string> text_at(const json::value& from, std::string_view key) {
    const std::string_view text = json::get_string(from, {key});
    if (text.size() > kMaxText) return corrupt(std::string(key) + " is too long");
    return std::string(text);
}

Result<int> int_at(const json::value& from, std::string_view key, int least, int most) {
    const auto number = json::get_int(from, {key});
    if (!number || *number < least || *number > most) {
        return corrupt(std::string(key) + " is missing or out of range");
    }
    return static_cast<int>(*number);
}

constexpr int kMaxIndex = 1 << 20;

Result<core::Card> card_from(const json::value& v) {
    core::Card card;
    EG_TRY(card.uuid, text_at(v, "uuid"));
    if (card.uuid.empty()) return corrupt("a card has no uuid");
    EG_TRY(card.index, int_at(v, "index", 0, kMaxIndex));
    EG_TRY(card.model, text_at(v, "model"));
    card.memory_mib = json::get_int(v, {"memoryMiB"}).value_or(0);
    EG_TRY(card.numa, int_at(v, "numa", -1, kMaxIndex));
    card.healthy = json::get_bool(v, {"healthy"}, true);
    return card;
}

Result<core::CardShare> share_from(const json::value& v) {
    core::CardShare share;
    EG_TRY(share.uuid, text_at(v, "uuid"));
    if (share.uuid.empty()) return corrupt("a record's card has no uuid");
    EG_TRY(share.index, int_at(v, "index", 0, kMaxIndex));
    EG_TRY(share.percent, int_at(v, "percent", 1, core::kCardUnits));
    share.memory_mib = json::get_int(v, {"memoryMiB"}).value_or(0);
    return share;
}

Result<std::optional<core::ContainerKind>> kind_from(std::string_view text) {
    if (text.empty()) return std::optional<core::ContainerKind>();
    for (const auto kind :
         {core::ContainerKind::kInit, core::ContainerKind::kSidecar, core::ContainerKind::kApp}) {
        if (kind_text(kind) == text) return std::optional(kind);
    }
    return corrupt("unknown kind of container \"" + std::string(text.substr(0, 32)) + "\"");
}

Result<Record> record_from(const json::value& v) {
    Record record;
    EG_TRY(record.token, text_at(v, "token"));
    if (record.token.empty()) return corrupt("a record has no token");
    const auto resource = resource_of(json::get_string(v, {"resource"}));
    if (!resource) return corrupt("record " + record.token + ": unknown resource");
    record.resource = *resource;
    const json::array* ids = json::get_array(v, {"ids"});
    const json::array* cards = json::get_array(v, {"cards"});
    if (ids == nullptr || ids->empty() || cards == nullptr || cards->empty() ||
        cards->size() > kMaxCards || ids->size() > kMaxCards * core::kCardUnits) {
        return corrupt("record " + record.token + ": ids or cards are missing");
    }
    for (const json::value& id : *ids) {
        if (!id.is_string() || id.get_string().size() > kMaxText) {
            return corrupt("record " + record.token + ": a device ID is no text");
        }
        record.ids.emplace_back(id.get_string().c_str(), id.get_string().size());
    }
    record.ids = as_id_set(record.ids);
    for (const json::value& card : *cards) {
        EG_TRY(core::CardShare share, share_from(card));
        record.cards.push_back(std::move(share));
    }
    EG_TRY(record.group, text_at(v, "group"));
    EG_TRY(record.holder.pod_uid, text_at(v, "podUID"));
    EG_TRY(record.holder.pod_namespace, text_at(v, "namespace"));
    EG_TRY(record.holder.pod_name, text_at(v, "pod"));
    EG_TRY(record.holder.container, text_at(v, "container"));
    EG_TRY(record.holder.kind, kind_from(json::get_string(v, {"kind"})));
    record.holder.confirmed = json::get_bool(v, {"confirmed"});
    record.time = json::get_int(v, {"time"}).value_or(0);
    record.guarded = json::get_bool(v, {"guarded"});
    if (record.group.empty()) return corrupt("record " + record.token + ": no group");
    return record;
}

Result<std::string_view> checked_payload(std::string_view text) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return corrupt("no header line");
    EG_TRY(const json::value header, json::parse(text.substr(0, end)));
    if (json::get_string(header, {"format"}) != kFormat)
        return corrupt("not a state file of the agent");
    const auto version = json::get_int(header, {"version"});
    if (!version || *version != kVersion) {
        return corrupt(
            "version " + (version ? std::to_string(*version) : "missing") + ", this agent reads " +
            std::to_string(kVersion)
        );
    }
    const auto bytes = json::get_int(header, {"bytes"});
    const std::string_view payload = text.substr(end + 1);
    if (!bytes || *bytes < 0 || static_cast<std::uint64_t>(*bytes) != payload.size()) {
        return corrupt("cut off, or longer than it says");
    }
    if (json::get_string(header, {"checksum"}) != checksum(payload))
        return corrupt("the checksum does not match");
    return payload;
}

}  // namespace

std::string encode_state(const NodeState& state) {
    json::array cards;
    for (const core::Card& card : state.cards) cards.push_back(to_json(card));
    json::array records;
    for (const Record& record : state.records) records.push_back(to_json(record));
    return seal_state(
        json::to_text(json::object{{"cards", std::move(cards)}, {"records", std::move(records)}}) +
        "\n"
    );
}

std::string seal_state(std::string_view payload) {
    const json::object header{
        {"format", kFormat},
        {"version", kVersion},
        {"bytes", payload.size()},
        {"checksum", checksum(payload)}};
    return json::to_text(header) + "\n" + std::string(payload);
}

Result<NodeState> decode_state(std::string_view text) {
    EG_TRY(const std::string_view payload, checked_payload(text));
    auto parsed = json::parse(payload);
    if (!parsed) return corrupt(parsed.error().message);
    const json::array* cards = json::get_array(*parsed, {"cards"});
    const json::array* records = json::get_array(*parsed, {"records"});
    if (cards == nullptr || records == nullptr || cards->size() > kMaxCards ||
        records->size() > kMaxRecords) {
        return corrupt("cards or records are missing or too many");
    }
    NodeState state;
    std::set<std::string> uuids;
    for (const json::value& v : *cards) {
        EG_TRY(core::Card card, card_from(v));
        if (!uuids.insert(card.uuid).second)
            return corrupt("card " + card.uuid + " is listed twice");
        state.cards.push_back(std::move(card));
    }
    std::set<std::string> tokens;
    for (const json::value& v : *records) {
        EG_TRY(Record record, record_from(v));
        if (!tokens.insert(record.token).second)
            return corrupt("record " + record.token + " is listed twice");
        state.records.push_back(std::move(record));
    }
    return state;
}

}  // namespace egpu::agent
