#include "testing/apiserver/store.h"

#include <thread>

#include <gtest/gtest.h>

namespace egpu::testing {
namespace {

json::value pod(
    std::string_view name, std::string_view ns = "default", std::string_view mark = ""
) {
    return {{"metadata", {{"name", name}, {"namespace", ns}}}, {"mark", mark}};
}

std::vector<std::string> names(const ObjectStore::Page& page) {
    std::vector<std::string> out;
    for (const auto& object : page.items)
        out.push_back(object_key(object->name_space(), object->name()));
    return out;
}

class StoreTest : public ::testing::Test {
  protected:
    ObjectPtr make(std::string_view name, std::string_view ns = "default") {
        return store_.create(pods(), pod(name, ns)).object;
    }
    ObjectStore store_{all_resources().size(), 8};
};

TEST_F(StoreTest, WritesAreCompareAndSwap) {
    const ObjectPtr first = make("a");
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(
        json::get_string(first->doc(), {"metadata", "resourceVersion"}),
        std::to_string(first->revision())
    );
    EXPECT_EQ(store_.create(pods(), pod("a")).error, StoreError::kExists);

    const ObjectPtr second = store_.replace(pods(), pod("a", "default", "2"), first).object;
    ASSERT_NE(second, nullptr);
    EXPECT_EQ(second->revision(), first->revision() + 1);
    EXPECT_EQ(store_.replace(pods(), pod("a", "default", "3"), first).error, StoreError::kChanged);
    EXPECT_EQ(store_.erase(pods(), "default/a", first).error, StoreError::kChanged);
    EXPECT_NE(store_.erase(pods(), "default/a", second).object, nullptr);
    EXPECT_EQ(store_.replace(pods(), pod("a"), second).error, StoreError::kMissing);
    EXPECT_EQ(store_.get(pods(), "default/a"), nullptr);
}

TEST_F(StoreTest, ListsAreOrderedAndPrefixed) {
    make("b", "x");
    make("a", "y");
    make("a", "x");
    EXPECT_EQ(
        names(store_.list(pods(), "", "", 0, 100)), (std::vector<std::string>{"x/a", "x/b", "y/a"})
    );
    EXPECT_EQ(
        names(store_.list(pods(), "x/", "", 0, 100)), (std::vector<std::string>{"x/a", "x/b"})
    );
    const auto page = store_.list(pods(), "x/", "x/a", 0, 100);
    EXPECT_EQ(names(page), (std::vector<std::string>{"x/b"}));
    EXPECT_FALSE(page.more);
}

TEST_F(StoreTest, PagesAreOfOneRevision) {
    make("a");
    make("b");
    make("d");
    const auto first = store_.list(pods(), "", "", 0, 1);
    EXPECT_TRUE(first.more);
    // All of this happens between two pages and must not be seen.
    make("c");
    store_.erase(pods(), "default/d", nullptr);
    const auto changed = store_.replace(pods(), pod("b", "default", "new"), nullptr).object;
    const auto rest = store_.list(pods(), "", "default/a", first.revision, 100);
    ASSERT_EQ(names(rest), (std::vector<std::string>{"default/b", "default/d"}));
    EXPECT_LT(rest.items[0]->revision(), changed->revision());
    EXPECT_EQ(rest.revision, first.revision);
    // And is seen by a new list.
    EXPECT_EQ(
        names(store_.list(pods(), "", "default/a", 0, 100)),
        (std::vector<std::string>{"default/b", "default/c"})
    );
}

TEST_F(StoreTest, EventsArriveInOrderAndOnce) {
    make("a");
    ObjectStore::Cursor cursor{store_.revision(), store_.watch_epoch()};
    const auto b = make("b");
    store_.create(nodes(), {{"metadata", {{"name", "n"}}}});
    store_.erase(pods(), "default/b", nullptr);
    const auto batch = store_.wait(pods(), cursor, MonoClock::now(), 100);
    ASSERT_EQ(batch.events.size(), 2U);
    EXPECT_EQ(batch.events[0].type, EventType::kAdded);
    EXPECT_EQ(batch.events[0].object, b);
    EXPECT_EQ(batch.events[1].type, EventType::kDeleted);
    EXPECT_EQ(batch.events[1].object->revision(), store_.revision());
    EXPECT_EQ(batch.events[1].previous, b);
    EXPECT_EQ(cursor.seen, store_.revision());
    EXPECT_EQ(store_.wait(pods(), cursor, MonoClock::now(), 100).wake, ObjectStore::Wake::kTimeout);
}

TEST_F(StoreTest, WaitWakesForAnEvent) {
    ObjectStore::Cursor cursor{store_.revision(), store_.watch_epoch()};
    std::thread writer([&] { make("late"); });
    const auto batch = store_.wait(pods(), cursor, MonoClock::now() + Seconds(20), 100);
    writer.join();
    ASSERT_EQ(batch.events.size(), 1U);
    EXPECT_EQ(batch.events[0].object->name(), "late");
}

TEST_F(StoreTest, TheRingForgetsPerKind) {
    make("a");
    const std::uint64_t old = store_.revision();
    ObjectStore::Cursor quiet{old, store_.watch_epoch()};
    for (int i = 0; i < 20; ++i) make("p" + std::to_string(i));
    ObjectStore::Cursor cursor{old, store_.watch_epoch()};
    EXPECT_EQ(store_.wait(pods(), cursor, MonoClock::now(), 100).wake, ObjectStore::Wake::kExpired);
    EXPECT_TRUE(store_.list(pods(), "", "", old, 100).expired);
    // Nothing of the nodes was lost: a quiet watch goes on.
    EXPECT_EQ(store_.wait(nodes(), quiet, MonoClock::now(), 100).wake, ObjectStore::Wake::kTimeout);
    EXPECT_EQ(quiet.seen, store_.revision());
}

TEST_F(StoreTest, ExpireAndBreakReachWaiters) {
    make("a");
    ObjectStore::Cursor cursor{store_.revision(), store_.watch_epoch()};
    store_.expire_history();
    EXPECT_EQ(store_.wait(pods(), cursor, MonoClock::now(), 100).wake, ObjectStore::Wake::kExpired);
    ObjectStore::Cursor fresh{store_.revision(), store_.watch_epoch()};
    EXPECT_EQ(store_.wait(pods(), fresh, MonoClock::now(), 100).wake, ObjectStore::Wake::kTimeout);
    std::thread breaker([&] { store_.break_watches(); });
    EXPECT_EQ(
        store_.wait(pods(), fresh, MonoClock::now() + Seconds(20), 100).wake,
        ObjectStore::Wake::kBroken
    );
    breaker.join();
}

}  // namespace
}  // namespace egpu::testing
