#include "k8s/known_objects.h"

namespace egpu::k8s {

namespace {

int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

constexpr bool dash_at(std::size_t i) {
    return i == 8 || i == 13 || i == 18 || i == 23;
}

// Lower-case 8-4-4-4-12, as Kubernetes makes them.
bool pack(std::string_view uid, std::array<std::uint8_t, 16>& into) {
    if (uid.size() != 36) return false;
    std::size_t n = 0;
    for (std::size_t i = 0; i < 36;) {
        if (dash_at(i)) {
            if (uid[i++] != '-') return false;
            continue;
        }
        const int high = hex(uid[i]);
        const int low = hex(uid[i + 1]);
        if (high < 0 || low < 0) return false;
        into[n++] = static_cast<std::uint8_t>(high * 16 + low);
        i += 2;
    }
    return true;
}

std::string unpack(const std::array<std::uint8_t, 16>& bytes) {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string out;
    out.reserve(36);
    for (const std::uint8_t byte : bytes) {
        if (dash_at(out.size())) out.push_back('-');
        out.push_back(kHex[byte >> 4]);
        out.push_back(kHex[byte & 15]);
    }
    return out;
}

std::uint64_t version_hash(std::string_view version) {
    if (version.empty()) return 0;
    const std::uint64_t h = std::hash<std::string_view>{}(version);
    return h == 0 ? 1 : h;
}

}  // namespace

std::string KnownObjects::text_of(const std::string& key, const Entry& entry) const {
    if (entry.packed) return unpack(entry.uid);
    const auto at = odd_uids_.find(key);
    return at == odd_uids_.end() ? std::string() : at->second;
}

void KnownObjects::set_uid(const std::string& key, Entry& entry, std::string_view uid) {
    entry.packed = pack(uid, entry.uid);
    if (entry.packed) {
        odd_uids_.erase(key);
    } else {
        odd_uids_[key] = uid;
    }
}

KnownObjects::Change KnownObjects::upsert(
    std::string_view key, std::string_view uid, std::string_view version, std::string* old_uid
) {
    const std::uint64_t hash = version_hash(version);
    const auto at = entries_.find(key);
    if (at == entries_.end()) {
        const auto [added, inserted] = entries_.emplace(std::string(key), Entry{});
        set_uid(added->first, added->second, uid);
        added->second.version = hash;
        added->second.round = round_;
        return Change::kNew;
    }
    Entry& entry = at->second;
    entry.round = round_;
    std::string known = text_of(at->first, entry);
    if (known != uid) {
        set_uid(at->first, entry, uid);
        entry.version = hash;
        if (old_uid != nullptr) *old_uid = std::move(known);
        return Change::kReplaced;
    }
    if (hash != 0 && entry.version == hash) return Change::kSame;
    entry.version = hash;
    return Change::kChanged;
}

bool KnownObjects::erase(std::string_view key, std::string_view uid) {
    const auto at = entries_.find(key);
    if (at == entries_.end() || text_of(at->first, at->second) != uid) return false;
    odd_uids_.erase(at->first);
    entries_.erase(at);
    return true;
}

std::vector<std::string> KnownObjects::unseen() const {
    std::vector<std::string> keys;
    for (const auto& [key, entry] : entries_) {
        if (entry.round != round_) keys.push_back(key);
    }
    return keys;
}

std::optional<std::string> KnownObjects::uid_of(std::string_view key) const {
    const auto at = entries_.find(key);
    if (at == entries_.end()) return std::nullopt;
    return text_of(at->first, at->second);
}

}  // namespace egpu::k8s
