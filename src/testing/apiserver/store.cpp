#include "testing/apiserver/store.h"

#include <algorithm>

namespace egpu::testing {
namespace {

std::string key_of(const json::value& doc) {
    return object_key(
        json::get_string(doc, {"metadata", "namespace"}),
        json::get_string(doc, {"metadata", "name"})
    );
}

std::string key_of(const Object& object) {
    return object_key(object.name_space(), object.name());
}

}  // namespace

ObjectStore::ObjectStore(std::size_t kinds, std::size_t history)
    : kinds_(kinds), history_limit_(std::max<std::size_t>(history, 1)) {}

std::uint64_t ObjectStore::revision() const {
    const std::lock_guard lock(mutex_);
    return revision_;
}

std::size_t ObjectStore::count(const Resource& resource) const {
    const std::lock_guard lock(mutex_);
    return kinds_[resource.index].objects.size();
}

ObjectPtr ObjectStore::get(const Resource& resource, std::string_view key) const {
    const std::lock_guard lock(mutex_);
    const auto& objects = kinds_[resource.index].objects;
    const auto found = objects.find(key);
    return found == objects.end() ? nullptr : found->second;
}

// Called with the lock held, after the kind's map was changed; `object` carries revision_ + 1.
ObjectPtr ObjectStore::commit(Kind& kind, EventType type, ObjectPtr object, ObjectPtr previous) {
    ++revision_;
    history_.push_back({revision_, type, object, std::move(previous)});
    if (history_.size() > history_limit_) {
        const StoreEvent& dropped = history_.front();
        kinds_[dropped.object->resource().index].oldest = dropped.revision;
        history_.pop_front();
    }
    kind.changed.notify_all();
    any_change_.notify_all();
    return object;
}

ObjectStore::Written ObjectStore::create(const Resource& resource, json::value doc) {
    std::string key = key_of(doc);
    const std::lock_guard lock(mutex_);
    Kind& kind = kinds_[resource.index];
    const auto [at, inserted] = kind.objects.try_emplace(std::move(key));
    if (!inserted) return {nullptr, StoreError::kExists};
    at->second = std::make_shared<const Object>(resource, std::move(doc), revision_ + 1);
    return {commit(kind, EventType::kAdded, at->second, nullptr)};
}

ObjectStore::Written ObjectStore::replace(
    const Resource& resource, json::value doc, const ObjectPtr& expected
) {
    std::string key = key_of(doc);
    const std::lock_guard lock(mutex_);
    Kind& kind = kinds_[resource.index];
    const auto found = kind.objects.find(key);
    if (expected != nullptr) {
        if (found == kind.objects.end()) return {nullptr, StoreError::kMissing};
        if (found->second != expected) return {nullptr, StoreError::kChanged};
    }
    auto object = std::make_shared<const Object>(resource, std::move(doc), revision_ + 1);
    if (found == kind.objects.end()) {
        kind.objects.emplace(std::move(key), object);
        return {commit(kind, EventType::kAdded, std::move(object), nullptr)};
    }
    ObjectPtr previous = std::exchange(found->second, object);
    return {commit(kind, EventType::kModified, std::move(object), std::move(previous))};
}

ObjectStore::Written ObjectStore::erase(
    const Resource& resource, std::string_view key, const ObjectPtr& expected
) {
    const std::lock_guard lock(mutex_);
    Kind& kind = kinds_[resource.index];
    const auto found = kind.objects.find(key);
    if (found == kind.objects.end()) return {nullptr, StoreError::kMissing};
    if (expected != nullptr && found->second != expected) return {nullptr, StoreError::kChanged};
    ObjectPtr previous = found->second;
    kind.objects.erase(found);
    auto last = std::make_shared<const Object>(resource, previous->doc(), revision_ + 1);
    return {commit(kind, EventType::kDeleted, std::move(last), std::move(previous))};
}

ObjectStore::Page ObjectStore::list(
    const Resource& resource,
    std::string_view prefix,
    std::string_view after,
    std::uint64_t at,
    std::size_t most
) const {
    Page page;
    const std::lock_guard lock(mutex_);
    page.revision = at == 0 ? revision_ : at;
    if (page.revision < kinds_[resource.index].oldest || page.revision > revision_) {
        page.expired = true;
        return page;
    }
    // What changed since: the first event of a key after `at` knows its state at `at`.
    std::map<std::string, ObjectPtr, std::less<>> undo;
    const std::string start = std::max(std::string(prefix), std::string(after));
    for (std::size_t i = index_after(page.revision); i < history_.size(); ++i) {
        const StoreEvent& event = history_[i];
        if (&event.object->resource() != &resource) continue;
        std::string key = key_of(*event.object);
        if (key >= start && key.starts_with(prefix))
            undo.try_emplace(std::move(key), event.previous);
    }
    const auto& objects = kinds_[resource.index].objects;
    auto now = objects.lower_bound(start);
    auto past = undo.begin();
    const auto take = [&](const std::string& key, const ObjectPtr& object) {
        if (object == nullptr || key == after) return true;
        if (page.items.size() == most) {
            page.more = true;
            return false;
        }
        page.items.push_back(object);
        return true;
    };
    for (;;) {
        const bool has_now = now != objects.end() && now->first.starts_with(prefix);
        const bool has_past = past != undo.end();
        if (!has_now && !has_past) break;
        if (has_past && (!has_now || past->first <= now->first)) {
            if (has_now && past->first == now->first) ++now;
            if (!take(past->first, past->second)) break;
            ++past;
        } else {
            if (!take(now->first, now->second)) break;
            ++now;
        }
    }
    return page;
}

ObjectStore::Batch ObjectStore::wait(
    const Resource& resource, Cursor& cursor, TimePoint deadline, std::size_t most
) const {
    Batch batch;
    std::unique_lock lock(mutex_);
    for (;;) {
        if (cursor.epoch != epoch_) {
            batch.wake = Wake::kBroken;
            return batch;
        }
        if (cursor.seen < kinds_[resource.index].oldest || cursor.seen > revision_) {
            batch.wake = Wake::kExpired;
            return batch;
        }
        const std::size_t first = index_after(cursor.seen);
        if (first == history_.size()) cursor.seen = revision_;
        for (std::size_t i = first; i < history_.size() && batch.events.size() < most; ++i) {
            const StoreEvent& event = history_[i];
            cursor.seen = event.revision;
            if (&event.object->resource() == &resource) batch.events.push_back(event);
        }
        if (!batch.events.empty()) {
            batch.wake = Wake::kEvents;
            return batch;
        }
        if (MonoClock::now() >= deadline) return batch;
        kinds_[resource.index].changed.wait_until(lock, deadline);
    }
}

// The place in history_ of the first event after `revision`.
std::size_t ObjectStore::index_after(std::uint64_t revision) const {
    if (history_.empty() || revision < history_.front().revision) return 0;
    return std::min<std::size_t>(revision - history_.front().revision + 1, history_.size());
}

std::uint64_t ObjectStore::watch_epoch() const {
    const std::lock_guard lock(mutex_);
    return epoch_;
}

void ObjectStore::break_watches() {
    const std::lock_guard lock(mutex_);
    ++epoch_;
    for (auto& kind : kinds_) kind.changed.notify_all();
    any_change_.notify_all();
}

void ObjectStore::expire_history() {
    const std::lock_guard lock(mutex_);
    history_.clear();
    ++revision_;
    for (auto& kind : kinds_) {
        kind.oldest = revision_;
        kind.changed.notify_all();
    }
    any_change_.notify_all();
}

bool ObjectStore::wait_beyond(std::uint64_t seen, TimePoint deadline) const {
    std::unique_lock lock(mutex_);
    return any_change_.wait_until(lock, deadline, [&] { return revision_ > seen; });
}

}  // namespace egpu::testing
