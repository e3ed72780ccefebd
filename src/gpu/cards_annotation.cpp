#include "gpu/cards_annotation.h"

#include <algorithm>
#include <limits>
#include <set>

#include "base/json.h"
#include "core/topology.h"
#include "gpu/inventory.h"

namespace egpu::gpu {
namespace {

constexpr int kVersion = 1;
constexpr std::size_t kMostBytes = 200U << 10;
constexpr std::size_t kMostCards = core::kMaxNodeCards;
constexpr std::size_t kMostUuid = 96;
constexpr std::size_t kMostModel = 128;
constexpr std::int64_t kMostMemory = std::int64_t{1} << 40;  // MiB
constexpr std::size_t kMostReason = 256;

void append_card(std::string& out, const core::Card& card, std::string_view reason) {
    out += out.back() == '[' ? "{\"uuid\":" : ",{\"uuid\":";
    json::append_quoted(out, card.uuid);
    out += ",\"index\":" + std::to_string(card.index) + ",\"model\":";
    json::append_quoted(out, card.model);
    out += ",\"memoryMiB\":" + std::to_string(card.memory_mib);
    if (card.numa >= 0) out += ",\"numa\":" + std::to_string(card.numa);
    if (card.replicas > 1) out += ",\"replicas\":" + std::to_string(card.replicas);
    out += card.healthy ? ",\"healthy\":true" : ",\"healthy\":false";
    if (!card.healthy && !reason.empty()) {
        out += ",\"reason\":";
        json::append_quoted(out, reason.substr(0, kMostReason));
    }
    out += "}";
}

const core::Card& card_of(const core::Card& card) {
    return card;
}
const core::Card& card_of(const CardInfo& info) {
    return info.card;
}

core::Link recorded_link(const core::Card& from, const core::Card& to) {
    const auto index = static_cast<std::size_t>(to.index);
    return index < from.links.size() ? from.links[index] : core::Link{0};
}

// Nothing where nothing is known.
template <class Cards>
std::string links_text(const Cards& cards) {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    if (cards.size() > core::kLinkedCards) return text;
    bool known = false;
    for (std::size_t a = 1; a < cards.size(); ++a) {
        for (std::size_t b = 0; b < a; ++b) {
            const core::Link link = recorded_link(card_of(cards[a]), card_of(cards[b]));
            text += {kDigits[link >> 4], kDigits[link & 15]};
            known = known || link != 0;
        }
    }
    return known ? ",\"links\":\"" + text + "\"" : "";
}

std::string begin() {
    return "{\"version\":" + std::to_string(kVersion) + ",\"cards\":[";
}

Error invalid(const std::string& what) {
    return Error{ErrorCode::kInvalid, "annotation " + std::string(kAnnotationCards) + ": " + what};
}

bool good_uuid(std::string_view uuid) {
    if (uuid.empty() || uuid.size() > kMostUuid) return false;
    for (const char c : uuid) {
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '-' && c != '/' && c != '_') return false;
    }
    return true;
}

// A missing field is `otherwise`; one of another kind or out of range is an error.
Result<std::int64_t> number(
    const json::value& card, std::string_view field, std::int64_t otherwise, std::int64_t most
) {
    if (json::find(card, {field}) == nullptr) return otherwise;
    const auto value = json::get_int(card, {field});
    if (!value || *value < 0 || *value > most) {
        return invalid(std::string(field) + " is not a number from 0 to " + std::to_string(most));
    }
    return *value;
}

Result<core::Card> decode_card(const json::value& from) {
    if (!from.is_object()) return invalid("a card is not an object");
    core::Card card;
    card.uuid = json::get_string(from, {"uuid"});
    if (!good_uuid(card.uuid)) return invalid("a card's uuid is missing or malformed");
    const std::string name = "card " + card.uuid;
    if (json::find(from, {"index"}) == nullptr) return invalid(name + ": index is missing");
    const auto index = number(from, "index", 0, core::kMaxCardIndex);
    if (!index) return index.error().wrap(name);
    card.index = static_cast<int>(*index);
    const auto memory = number(from, "memoryMiB", 0, kMostMemory);
    if (!memory) return memory.error().wrap(name);
    card.memory_mib = *memory;
    const auto* numa = json::find(from, {"numa"});
    if (numa != nullptr && json::get_int(from, {"numa"}) != -1) {
        const auto node = number(from, "numa", 0, 1'000'000);
        if (!node) return node.error().wrap(name);
        card.numa = static_cast<int>(*node);
    }
    const auto replicas = number(from, "replicas", 1, core::kCardUnits);
    if (!replicas) return replicas.error().wrap(name);
    card.replicas = std::max(1, static_cast<int>(*replicas));
    card.model = json::get_string(from, {"model"});
    if (card.model.size() > kMostModel) return invalid(name + ": model is too long");
    const auto* healthy = json::find(from, {"healthy"});
    if (healthy != nullptr && !healthy->is_bool()) {
        return invalid(name + ": healthy is neither true nor false");
    }
    card.healthy = json::get_bool(from, {"healthy"}, true);
    return card;
}

int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

Status decode_links(const json::value& from, std::vector<core::Card>& cards) {
    const auto* field = json::find(from, {"links"});
    if (field == nullptr) return {};
    const std::string_view text = json::get_string(from, {"links"});
    const std::size_t pairs = cards.empty() ? 0 : cards.size() * (cards.size() - 1) / 2;
    if (!field->is_string() || cards.size() > core::kLinkedCards || text.size() != 2 * pairs) {
        return invalid("links does not have two hexadecimal digits for each pair of cards");
    }
    std::size_t at = 0;
    for (std::size_t a = 1; a < cards.size(); ++a) {
        for (std::size_t b = 0; b < a; ++b, at += 2) {
            const int high = digit_of(text[at]);
            const int low = digit_of(text[at + 1]);
            if (high < 0 || low < 0) return invalid("links has something else than digits 0-9a-f");
            core::set_link(cards[a], cards[b], static_cast<core::Link>(high << 4 | low));
        }
    }
    return {};
}

}  // namespace

std::string encode_cards(std::span<const core::Card> cards) {
    std::string out = begin();
    for (const auto& card : cards) append_card(out, card, {});
    return out + "]" + links_text(cards) + "}";
}

std::string encode_cards(std::span<const CardInfo> cards) {
    std::string out = begin();
    for (const auto& info : cards) append_card(out, info.card, info.reason);
    return out + "]" + links_text(cards) + "}";
}

Result<std::vector<core::Card>> decode_cards(std::string_view text) {
    if (text.size() > kMostBytes) return invalid("larger than 200 KiB");
    auto parsed = json::parse(text);
    if (!parsed) return invalid(parsed.error().message);
    const auto version = json::get_int(*parsed, {"version"});
    if (!version || *version < 1) return invalid("version is missing");
    if (*version > kVersion) {
        return invalid(
            "version " + std::to_string(*version) +
            " is newer than this program understands (1): upgrade the scheduler first"
        );
    }
    const auto* array = json::get_array(*parsed, {"cards"});
    if (array == nullptr) return invalid("cards is missing or not a list");
    if (array->size() > kMostCards) return invalid("more than 1024 cards");
    std::vector<core::Card> cards;
    std::set<std::string> uuids;
    std::set<int> indexes;
    for (const auto& entry : *array) {
        EG_TRY(auto card, decode_card(entry));
        if (!uuids.insert(card.uuid).second)
            return invalid("card " + card.uuid + " is listed twice");
        if (!indexes.insert(card.index).second) {
            return invalid("index " + std::to_string(card.index) + " is listed twice");
        }
        cards.push_back(std::move(card));
    }
    EG_TRY_VOID(decode_links(*parsed, cards));
    return cards;
}

}  // namespace egpu::gpu
