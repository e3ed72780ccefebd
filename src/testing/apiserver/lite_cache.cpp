#include "testing/apiserver/lite_cache.h"

namespace egpu::testing {
namespace {

std::string cache_key(std::string_view user_agent, const Target& target) {
    std::string key(user_agent.substr(0, user_agent.find(' ')));
    for (const std::string_view part :
         {std::string_view(target.name_space),
          target.resource->plural,
          std::string_view(target.name),
          std::string_view(target.subresource)}) {
        key += '_';
        key += part;
    }
    return key;
}

}  // namespace

void LiteCache::Entry::drop_deleted() {
    std::erase(list->items, nullptr);
    deleted = 0;
    places.clear();
    for (std::size_t i = 0; i < list->items.size(); ++i) places.emplace(list->items[i]->uid(), i);
}

void LiteCache::remember(
    std::string_view user_agent, const Target& target, const ReadResult& read
) {
    if (read.object == nullptr && !read.list) return;
    const std::lock_guard lock(mutex_);
    Entry& entry = entries_[cache_key(user_agent, target)];
    entry = {read.object, read.list, {}, 0};
    if (entry.list) entry.drop_deleted();
}

void LiteCache::apply(
    std::string_view user_agent, const Target& target, EventType type, const ObjectPtr& object
) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(cache_key(user_agent, target));
    if (found == entries_.end() || !found->second.list) return;
    Entry& entry = found->second;
    auto& items = entry.list->items;
    const std::string uid(object->uid());
    if (type == EventType::kAdded) {
        entry.places.emplace(uid, items.size());
        items.push_back(object);
        return;
    }
    const auto [first, last] = entry.places.equal_range(uid);
    for (auto place = first; place != last; ++place) {
        ObjectPtr& item = items[place->second];
        if (type == EventType::kDeleted) {
            item = nullptr;
            ++entry.deleted;
        } else if (object->revision() > item->revision()) {
            item = object;
        }
    }
    if (type == EventType::kDeleted) entry.places.erase(first, last);
    if (entry.deleted > items.size() / 2) entry.drop_deleted();
}

std::optional<RestAnswer> LiteCache::answer(std::string_view user_agent, const Target& target)
    const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(cache_key(user_agent, target));
    if (found == entries_.end()) return std::nullopt;
    RestAnswer answer;
    const Entry& entry = found->second;
    if (entry.list) {
        std::vector<ObjectPtr> items = entry.list->items;
        std::erase(items, nullptr);
        answer.body = render_list(
            *target.resource, items, {entry.list->revision, entry.list->continue_token}, Form{}
        );
    } else {
        answer.body = render_object(*entry.object, Form{});
    }
    return answer;
}

}  // namespace egpu::testing
