#include "k8s/extender_names.h"

#include <algorithm>
#include <cstring>

namespace egpu::k8s {

using Token = JsonScanner::Token;

namespace {

// How many bytes are the same in both, from their beginnings on.
std::size_t common_prefix(std::string_view a, std::string_view b) {
    const std::size_t both = std::min(a.size(), b.size());
    std::size_t same = 0;
    // Large blocks while they are equal, then half of the block that is not, and so on.
    for (std::size_t block = 1024; block > 0; block /= 2) {
        while (both - same >= block && std::memcmp(a.data() + same, b.data() + same, block) == 0) {
            same += block;
        }
    }
    return same;
}

}  // namespace

void NamesSection::begin(const KnownNames* expected, NameList& names, std::vector<KnownRun>& runs) {
    expected_ = expected != nullptr && expected->size() > 0 ? expected : nullptr;
    names_ = &names;
    runs_ = &runs;
    names.clear();
    runs.clear();
    next_ = jumps_ = passed_ = 0;
}

bool NamesSection::take(Token token, BodyCursor& cursor, std::size_t max_nodes, bool& left) {
    if (token == Token::kArrayEnd) {
        left = true;
        return true;
    }
    if (token != Token::kString) return cursor.wrong_type("an entry of NodeNames");
    std::string_view name;
    if (!cursor.read_text(name)) return false;
    if (!cursor.check_node_name(name, "NodeNames has an empty name")) return false;
    if (names_->size() >= max_nodes) return cursor.too_many_nodes(max_nodes);
    names_->add(name);
    // As the last of what has arrived, and of the list, it may still be the one that was guessed.
    if (expected_ != nullptr && next_ < expected_->size() && expected_->names()[next_] == name) {
        add_run(1);
    }
    return true;
}

void NamesSection::pass_expected(BodyCursor& cursor, std::size_t max_nodes) {
    if (expected_ == nullptr) return;
    const NameList& known = expected_->names();
    const char* const end = cursor.window.end();
    for (;;) {
        const char* const from = cursor.scanner.next_string(cursor.at, end);
        if (from == nullptr) return;
        if (next_ == known.size()) {
            if (expected_->entry() == KnownNames::Entry::kFirst) return give_up();
            next_ = 0;
        }
        const std::string_view there(from, static_cast<std::size_t>(end - from));
        std::size_t count = known.within(next_, common_prefix(known.written_from(next_), there));
        count = std::min(count, max_nodes - names_->size());
        // One more has to follow, or the comma behind the last is not one between strings.
        std::size_t bytes = known.written_size(next_, count);
        if (count > 0 && (bytes == there.size() || there[bytes] != '"')) {
            bytes = known.written_size(next_, --count);
        }
        if (count == 0) {
            if (jump(cursor, from)) continue;
            return;
        }
        names_->add_from(known, next_, count);
        cursor.scanner.passed_strings(cursor.at, from + bytes);
        add_run(count);
        passed_ += count;
    }
}

// Another name than the guessed one begins at `from`: the list may go on from there. False: the
// next token has to be read first.
bool NamesSection::jump(BodyCursor& cursor, const char* from) {
    // A jump costs as much as some names read one by one: not worth it between short pieces.
    constexpr std::size_t kTries = 16;
    constexpr std::size_t kWorthIt = 8;
    const char* const close = k8s::pass_plain(from + 1, cursor.window.end());
    if (close == cursor.window.end() || *close != '"') return false;
    const auto position = expected_->find(std::string_view(from + 1, close));
    if (position && *position == next_) return false;  // the last that has arrived
    const bool worth_it = ++jumps_ <= kTries || passed_ >= jumps_ * kWorthIt;
    if (!worth_it || expected_->entry() == KnownNames::Entry::kFirst) {
        give_up();
        return false;
    }
    if (position) next_ = *position;
    return position.has_value();
}

// The rest comes in another order.
void NamesSection::give_up() {
    expected_ = nullptr;
}

// Of the names that were added last.
void NamesSection::add_run(std::size_t count) {
    const auto known = static_cast<std::uint32_t>(next_);
    const auto first = static_cast<std::uint32_t>(names_->size() - count);
    const auto added = static_cast<std::uint32_t>(count);
    next_ += count;
    if (!runs_->empty()) {
        KnownRun& last = runs_->back();
        if (last.first + last.count == first && last.known + last.count == known) {
            last.count += added;
            return;
        }
    }
    runs_->push_back({first, known, added});
}

void NamesSection::pass_plain(BodyCursor& cursor, std::size_t max_nodes) {
    if (expected_ != nullptr) return;  // one that is not in the list is read, then it goes on
    sizes_.clear();
    const std::size_t room = max_nodes - names_->size();
    const char* from = nullptr;
    cursor.scanner.pass_plain_strings(cursor.at, cursor.window.end(), [&](std::string_view name) {
        const bool good = !name.empty() && name.size() <= BodyCursor::kMaxNodeName;
        if (!good || sizes_.size() == room) return false;
        if (from == nullptr) from = name.data() - 1;
        sizes_.push_back(static_cast<std::uint32_t>(name.size() + 3));  // quotes and comma
        return true;
    });
    if (from != nullptr) names_->add_run(std::string_view(from, cursor.at), sizes_);
}

}  // namespace egpu::k8s
