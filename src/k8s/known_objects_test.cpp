#include "k8s/known_objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace egpu::k8s {
namespace {

using Change = KnownObjects::Change;
constexpr const char* kUid = "c011de05-ef19-44ce-ba87-c03d1a75b527";

TEST(KnownObjects, TellsWhatChanged) {
    KnownObjects known;
    std::string old;
    EXPECT_EQ(known.upsert("ns/a", kUid, "1", &old), Change::kNew);
    EXPECT_EQ(known.upsert("ns/a", kUid, "1", &old), Change::kSame);
    EXPECT_EQ(known.upsert("ns/a", kUid, "2", &old), Change::kChanged);
    EXPECT_EQ(known.upsert("ns/a", kUid, "", &old), Change::kChanged);
    EXPECT_EQ(known.upsert("ns/a", kUid, "", &old), Change::kChanged) << "no version: never equal";
    EXPECT_EQ(known.upsert("ns/a", "other", "2", &old), Change::kReplaced);
    EXPECT_EQ(old, kUid);
    EXPECT_EQ(known.upsert("ns/a", kUid, "3", &old), Change::kReplaced);
    EXPECT_EQ(old, "other");
    EXPECT_EQ(known.uid_of("ns/a"), kUid);
    EXPECT_EQ(known.uid_of("ns/b"), std::nullopt);
}

TEST(KnownObjects, UidsKeepTheirText) {
    KnownObjects known;
    for (const std::string& uid :
         {std::string(kUid),
          std::string(),
          std::string("n1"),
          std::string(36, '-'),
          std::string("C011DE05-EF19-44CE-BA87-C03D1A75B527"),
          std::string(36, 'g')}) {
        known.upsert("k", uid, "1", nullptr);
        EXPECT_EQ(known.uid_of("k"), uid);
        EXPECT_FALSE(known.erase("k", "not this one"));
        EXPECT_TRUE(known.erase("k", uid));
        EXPECT_FALSE(known.erase("k", uid));
    }
    EXPECT_EQ(known.size(), 0U);
}

TEST(KnownObjects, RoundsFindTheMissing) {
    KnownObjects known;
    for (const char* key : {"a", "b", "c"}) known.upsert(key, kUid, "1", nullptr);
    known.begin_round();
    known.upsert("b", kUid, "1", nullptr);
    EXPECT_THAT(known.unseen(), testing::UnorderedElementsAre("a", "c"));
    known.begin_round();
    EXPECT_EQ(known.unseen().size(), 3U);
}

}  // namespace
}  // namespace egpu::k8s
