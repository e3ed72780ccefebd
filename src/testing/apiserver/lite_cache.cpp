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

void LiteCache::remember(
    std::string_view user_agent, const Target& target, const ReadResult& read
) {
    if (read.object == nullptr && !read.list) return;
    const std::lock_guard lock(mutex_);
    entries_[cache_key(user_agent, target)] = read;
}

void LiteCache::apply(
    std::string_view user_agent, const Target& target, EventType type, const ObjectPtr& object
) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(cache_key(user_agent, target));
    if (found == entries_.end() || !found->second.list) return;
    auto& items = found->second.list->items;
    if (type == EventType::kAdded) {
        items.push_back(object);
        return;
    }
    std::erase_if(items, [&](ObjectPtr& item) {
        if (item->uid() != object->uid()) return false;
        if (type == EventType::kDeleted) return true;
        if (object->revision() > item->revision()) item = object;
        return false;
    });
}

std::optional<RestAnswer> LiteCache::answer(std::string_view user_agent, const Target& target)
    const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(cache_key(user_agent, target));
    if (found == entries_.end()) return std::nullopt;
    RestAnswer answer;
    const ReadResult& read = found->second;
    if (read.list) {
        answer.body = render_list(
            *target.resource,
            read.list->items,
            {read.list->revision, read.list->continue_token},
            Form{}
        );
    } else {
        answer.body = render_object(*read.object, Form{});
    }
    return answer;
}

}  // namespace egpu::testing
