#include "agent/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/reconcile.h"
#include "agent/take_over.h"
#include "k8s/placement_annotations.h"

namespace egpu::agent {
namespace {

using core::ContainerKind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Alive = BookEntry::Alive;

std::vector<core::Card> cards() {
    std::vector<core::Card> out;
    for (int i = 0; i < 3; ++i)
        out.push_back({"GPU-" + std::to_string(i), i, "T4", 15360, -1, true});
    return out;
}

std::vector<std::string> units(int card, int from, int count) {
    std::vector<std::string> ids;
    for (int i = from; i < from + count; ++i)
        ids.push_back(unit_id("GPU-" + std::to_string(card), i));
    return as_id_set(ids);
}

core::CardShare share(int card, int percent) {
    return {"GPU-" + std::to_string(card), card, percent, 0};
}

k8s::Pod pod(
    const std::string& uid,
    const std::string& name,
    std::vector<core::ContainerSpec> containers,
    const core::Placement& placement = {}
) {
    k8s::Pod out;
    out.meta.uid = uid;
    out.meta.ns = "ns";
    out.meta.name = name;
    if (!placement.containers.empty()) out.meta.annotations = k8s::to_annotations(placement);
    out.node_name = "n1";
    out.phase = "Pending";
    out.containers = std::move(containers);
    return out;
}

kubelet::AllocateResponse answer(const std::string& token, const std::string& visible) {
    kubelet::AllocateResponse out;
    out.envs["NVIDIA_VISIBLE_DEVICES"] = visible;
    if (!token.empty()) out.annotations[std::string(kAnnotationAllocation)] = token;
    return out;
}

class Identity : public ::testing::Test {
  protected:
    ListedPod listed(const std::string& name, std::vector<ListedContainer> containers) {
        return {"ns", name, std::move(containers)};
    }
    std::vector<BookEntry> entries() { return book_entries(books, view, cards()); }

    PodsView view{"n1", [] {}};
    KubeletBooks books;
};

TEST_F(Identity, NodePodReadsRequestAndPlacement) {
    const core::Placement placement{{{"main", {share(1, 20)}}}};
    const NodePod read =
        node_pod(pod("u", "p", {{"main", ContainerKind::kApp, "20", ""}}, placement));
    ASSERT_NE(read.placed("main"), nullptr);
    EXPECT_EQ(read.placed("other"), nullptr);
    const auto found = candidates_of(read, Resource::kPercent, 20, cards());
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].cards, std::vector{share(1, 20)});
    EXPECT_THAT(candidates_of(read, Resource::kPercent, 30, cards()), IsEmpty());
    EXPECT_THAT(candidates_of(read, Resource::kWhole, 1, cards()), IsEmpty());
}

TEST_F(Identity, NodePodWithNonsenseHasAProblemAndNoPlan) {
    k8s::Pod bad = pod("u", "p", {{"main", ContainerKind::kApp, "150", ""}});
    EXPECT_NE(node_pod(bad).problem, "");
    bad = pod("u", "p", {{"main", ContainerKind::kApp, "20", ""}});
    bad.meta.annotations["edge-gpu.io/placement"] = "{";
    const NodePod read = node_pod(bad);
    EXPECT_NE(read.problem, "");
    ASSERT_EQ(candidates_of(read, Resource::kPercent, 20, cards()).size(), 1U);
    EXPECT_THAT(candidates_of(read, Resource::kPercent, 20, cards())[0].cards, IsEmpty());
}

TEST_F(Identity, NanoGpuIndexesAreResolved) {
    k8s::Pod old = pod("u", "p", {{"main", ContainerKind::kApp, "20", ""}});
    old.meta.annotations = {{"nano-gpu/assume", "true"}, {"nano-gpu/container-main", "2"}};
    const auto found = candidates_of(node_pod(old), Resource::kPercent, 20, cards());
    ASSERT_EQ(found.size(), 1U);
    ASSERT_EQ(found[0].cards.size(), 1U);
    EXPECT_EQ(found[0].cards[0].uuid, "GPU-2");
    old.meta.annotations["nano-gpu/container-main"] = "7";
    EXPECT_THAT(candidates_of(node_pod(old), Resource::kPercent, 20, cards())[0].cards, IsEmpty());
}

TEST_F(Identity, StaticPodsHaveTheKubeletsUid) {
    k8s::Pod mirror = pod("api", "p", {{"main", ContainerKind::kApp, "20", ""}});
    mirror.static_hash = "hash";
    view.upsert(mirror);
    ASSERT_TRUE(view.by_uid("hash"));
    EXPECT_EQ(view.by_uid("hash")->api_uid, "api");
    EXPECT_EQ(view.by_uid("api"), nullptr);
    view.remove("api");
    EXPECT_EQ(view.fate("hash", "ns", "p", MonoClock::now()), PodFate::kGone);
    EXPECT_EQ(view.fate("never", "ns", "q", MonoClock::now()), PodFate::kUnknown);
}

TEST_F(Identity, PodsOfOtherNodesAreNotTaken) {
    k8s::Pod other = pod("u", "p", {});
    other.node_name = "n2";
    view.upsert(other);
    EXPECT_THAT(view.all(), IsEmpty());
}

TEST_F(Identity, OnlyTheListedPodWithoutDevicesIsACandidate) {
    view.upsert(pod("u1", "has", {{"main", ContainerKind::kApp, "20", ""}}));
    view.upsert(pod("u2", "waits", {{"main", ContainerKind::kApp, "20", ""}}));
    view.upsert(pod("u3", "unlisted", {{"main", ContainerKind::kApp, "20", ""}}));
    view.upsert(pod("u4", "bigger", {{"main", ContainerKind::kApp, "30", ""}}));
    books.pods = {
        listed("has", {{"main", {{Resource::kPercent, units(0, 0, 20)}}}}),
        listed("waits", {{"main", {}}}),
        listed("bigger", {{"main", {}}})};
    const auto none = [](auto, auto, auto) { return false; };
    auto found =
        admission_candidates(Resource::kPercent, 20, books.pods, view.all(), none, cards());
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].holder.pod_uid, "u2");
    // The list failed: everybody who asks for as much.
    found = admission_candidates(Resource::kPercent, 20, std::nullopt, view.all(), none, cards());
    EXPECT_EQ(found.size(), 3U);
    // A record already: not again.
    const auto all = [](auto, auto, auto) { return true; };
    EXPECT_THAT(
        admission_candidates(Resource::kPercent, 20, books.pods, view.all(), all, cards()),
        IsEmpty()
    );
}

TEST_F(Identity, InitContainersComeFirstAndAreNotListed) {
    view.upsert(
        pod("u1",
            "p",
            {{"init", ContainerKind::kInit, "20", ""}, {"main", ContainerKind::kApp, "20", ""}})
    );
    books.pods = {listed("p", {{"main", {}}})};
    const auto none = [](auto, auto, auto) { return false; };
    const auto found =
        admission_candidates(Resource::kPercent, 20, books.pods, view.all(), none, cards());
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].holder.container, "init");
}

TEST_F(Identity, BooksArePutTogether) {
    view.upsert(
        pod("u1",
            "p",
            {{"init", ContainerKind::kInit, "20", ""}, {"main", ContainerKind::kApp, "20", ""}})
    );
    books.pods = {listed("p", {{"main", {{Resource::kPercent, units(0, 0, 20)}}}})};
    books.checkpoint = {
        {"u1", "init", Resource::kPercent, units(0, 0, 20), answer("t1", "GPU-0")},
        {"u1", "main", Resource::kPercent, units(0, 0, 20), answer("t2", "GPU-0")},
        {"old", "main", Resource::kPercent, units(1, 0, 20), answer("t3", "GPU-1")}};
    const auto all = entries();
    ASSERT_EQ(all.size(), 3U);
    EXPECT_EQ(all[0].alive, Alive::kYes);  // an init container of a listed pod
    EXPECT_EQ(all[0].holder.kind, ContainerKind::kInit);
    EXPECT_EQ(all[1].alive, Alive::kYes);
    EXPECT_EQ(all[1].holder.pod_name, "p");
    EXPECT_EQ(all[1].token, "t2");
    EXPECT_THAT(all[1].given, ElementsAre("GPU-0"));
    EXPECT_EQ(all[2].alive, Alive::kUnclear);  // a pod nobody knows by name
}

TEST_F(Identity, KubeletsBefore130DoNotListSidecars) {
    view.upsert(
        pod("u1",
            "p",
            {{"side", ContainerKind::kSidecar, "10", ""}, {"main", ContainerKind::kApp, "20", ""}})
    );
    books.pods = {listed("p", {{"main", {{Resource::kPercent, units(0, 0, 20)}}}})};
    books.checkpoint = {
        {"u1", "side", Resource::kPercent, units(1, 0, 10), answer("t1", "GPU-1")},
        {"u1", "main", Resource::kPercent, units(0, 0, 20), answer("t2", "GPU-0")},
    };
    const auto all = entries();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].alive, BookEntry::Alive::kYes) << "its share must stay held";
    EXPECT_EQ(all[1].alive, BookEntry::Alive::kYes);
}

TEST_F(Identity, WithoutTheApiServerTheListNamesThePod) {
    books.pods = {listed("p", {{"main", {{Resource::kPercent, units(0, 0, 20)}}}})};
    books.checkpoint = {
        {"u1", "main", Resource::kPercent, units(0, 0, 20), answer("t2", "GPU-0")},
        {"u1", "init", Resource::kPercent, units(0, 0, 30), answer("t1", "GPU-0")}};
    const auto all = entries();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].holder.pod_name, "p");
    EXPECT_EQ(all[0].alive, Alive::kYes);
    EXPECT_EQ(all[1].holder.pod_name, "p");  // by its sibling's UID
    EXPECT_EQ(all[1].alive, Alive::kYes);
}

TEST_F(Identity, AReplacedPodsEntriesAreDead) {
    view.upsert(pod("new", "web-0", {{"main", ContainerKind::kApp, "20", ""}}));
    books.pods = {listed("web-0", {{"main", {}}})};
    books.checkpoint = {{"old", "main", Resource::kPercent, units(0, 0, 20), answer("t", "GPU-0")}};
    view.upsert(pod("old", "web-0", {{"main", ContainerKind::kApp, "20", ""}}));
    view.upsert(pod("newer", "web-0", {{"main", ContainerKind::kApp, "20", ""}}));
    const auto all = entries();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].alive, Alive::kNo);
}

TEST_F(Identity, RecordsMatchByTokenThenIdsThenName) {
    Record a{"ta", Resource::kPercent, units(0, 0, 20), {share(0, 20)}, "", {}, 0};
    Record b{"tb", Resource::kPercent, units(0, 0, 20), {share(1, 20)}, "", {}, 0};
    Record c{
        "tc",
        Resource::kWhole,
        {"GPU-2"},
        {share(2, 100)},
        "",
        {"u3", "ns", "p3", "main", {}, false},
        0};
    const std::vector<Record> records{a, b, c};
    // The kubelet handed the same IDs out twice: only the tokens tell.
    std::vector<BookEntry> book{
        {{"u2", "", "", "main", {}, true},
         Resource::kPercent,
         units(0, 0, 20),
         "tb",
         {},
         Alive::kYes},
        {{"u1", "", "", "main", {}, true},
         Resource::kPercent,
         units(0, 0, 20),
         "ta",
         {},
         Alive::kYes},
        {{"u3", "", "", "main", {}, true}, Resource::kWhole, {"GPU-2"}, "", {}, Alive::kYes}};
    const auto found = match_records(records, book);
    EXPECT_EQ(found, (std::vector<const BookEntry*>{&book[1], &book[0], &book[2]}));
}

TEST_F(Identity, AForeignTokenIsNoMatch) {
    const std::vector<Record> records{
        {"ta", Resource::kPercent, units(0, 0, 20), {share(0, 20)}, "", {}, 0}};
    const std::vector<BookEntry> book{
        {{"u2", "", "", "main", {}, true},
         Resource::kPercent,
         units(0, 0, 20),
         "other",
         {},
         Alive::kYes}};
    EXPECT_EQ(match_records(records, book)[0], nullptr);
}

TEST_F(Identity, TakeOverNamesCorrectsAndAdopts) {
    NodeLedger ledger;
    ledger.set_cards(cards());
    ASSERT_TRUE(
        ledger.restore({"t1", Resource::kPercent, units(0, 0, 20), {share(0, 20)}, "", {}, 0})
    );
    books.pods = {
        listed("p", {{"main", {{Resource::kPercent, units(0, 0, 20)}}}}),
        listed("q", {{"main", {{Resource::kWhole, {"GPU-2"}}}}})};
    books.checkpoint = {
        {"u1", "main", Resource::kPercent, units(0, 0, 20), answer("t1", "GPU-1")},
        {"u2", "main", Resource::kWhole, {"GPU-2"}, answer("", "GPU-2")}};
    EXPECT_TRUE(take_over(ledger, entries(), view, true));
    const Record* named = ledger.find("t1");
    EXPECT_EQ(named->holder.pod_uid, "u1");
    EXPECT_EQ(named->holder.pod_name, "p");
    EXPECT_TRUE(named->holder.confirmed);
    EXPECT_EQ(named->cards, std::vector{share(1, 20)});  // what the container was given
    ASSERT_EQ(ledger.records().size(), 2U);
    EXPECT_EQ(ledger.records()[1].cards, std::vector{share(2, 100)});
    EXPECT_FALSE(take_over(ledger, entries(), view, true));  // nothing left to do
}

TEST_F(Identity, AdoptionKeepsTheTokenAndTheRealCard) {
    NodeLedger ledger;
    ledger.set_cards(cards());
    books.pods = {listed("p", {{"main", {{Resource::kPercent, units(0, 0, 20)}}}})};
    books.checkpoint = {{"u1", "main", Resource::kPercent, units(0, 0, 20), answer("t1", "GPU-2")}};
    EXPECT_TRUE(take_over(ledger, entries(), view, true));
    ASSERT_NE(ledger.find("t1"), nullptr);
    EXPECT_EQ(ledger.find("t1")->cards, std::vector{share(2, 20)});
    EXPECT_TRUE(ledger.find("t1")->overridden());
}

TEST_F(Identity, AdoptionFallsBackToPlanAndIds) {
    view.upsert(
        pod("u1", "p", {{"main", ContainerKind::kApp, "20", ""}}, {{{"main", {share(1, 20)}}}})
    );
    BookEntry entry{
        {"u1", "ns", "p", "main", {}, true},
        Resource::kPercent,
        units(0, 0, 20),
        "",
        {},
        Alive::kYes};
    auto record = adopted_record(entry, view, cards(), "fresh", 1);
    ASSERT_TRUE(record);
    EXPECT_EQ(record->token, "fresh");
    EXPECT_EQ(record->cards, std::vector{share(1, 20)});
    entry.holder.pod_uid = "unknown";
    record = adopted_record(entry, view, cards(), "fresh", 1);
    ASSERT_TRUE(record);
    EXPECT_EQ(record->cards, std::vector{share(0, 20)});
    entry.ids = {"something"};
    EXPECT_FALSE(adopted_record(entry, view, cards(), "fresh", 1));
}

TEST_F(Identity, UnclearEntriesOfOthersIdsAreNotAdopted) {
    NodeLedger ledger;
    ledger.set_cards(cards());
    books.pods = {listed("p", {{"main", {{Resource::kPercent, units(0, 0, 20)}}}})};
    books.checkpoint = {
        {"gone", "x", Resource::kPercent, units(0, 10, 20), answer("told", "GPU-0")}};
    EXPECT_TRUE(take_over(ledger, entries(), view, true));
    EXPECT_EQ(ledger.records().size(), 1U);
    EXPECT_EQ(ledger.find("told"), nullptr);
}

TEST_F(Identity, WhatWasReleasedIsNotAdoptedAgain) {
    NodeLedger ledger;
    ledger.set_cards(cards());
    books.pods = std::vector<ListedPod>();
    books.checkpoint = {
        {"gone", "x", Resource::kPercent, units(0, 10, 20), answer("told", "GPU-0")}};
    EXPECT_FALSE(take_over(ledger, entries(), view, false));
    EXPECT_TRUE(take_over(ledger, entries(), view, true));  // unless our state was lost
    EXPECT_NE(ledger.find("told"), nullptr);
}

TEST_F(Identity, CardsGivenReadsAllFormsOfAnswers) {
    EXPECT_THAT(cards_given(answer("", "GPU-0,GPU-2"), cards()), ElementsAre("GPU-0", "GPU-2"));
    EXPECT_THAT(cards_given(answer("", "1"), cards()), ElementsAre("GPU-1"));
    kubelet::AllocateResponse mounts = answer("", "/var/run/nvidia-container-devices");
    mounts.mounts.push_back({"/var/run/nvidia-container-devices/GPU-1", "/dev/null", false});
    EXPECT_THAT(cards_given(mounts, cards()), ElementsAre("GPU-1"));
    kubelet::AllocateResponse cdi;
    cdi.cdi_names = {"edge-gpu.io/gpu=GPU-2"};
    cdi.annotations["cdi.k8s.io/edge-gpu_0"] = "edge-gpu.io/gpu=GPU-0,edge-gpu.io/gpu=GPU-2";
    EXPECT_THAT(cards_given(cdi, cards()), ElementsAre("GPU-0", "GPU-2"));
    kubelet::AllocateResponse direct;
    direct.envs["NVIDIA_VISIBLE_DEVICES"] = "void";
    direct.annotations["edge-gpu.io/given"] = "GPU-1";
    EXPECT_THAT(cards_given(direct, cards()), ElementsAre("GPU-1"));
    EXPECT_THAT(cards_given({}, cards()), IsEmpty());
}

TEST_F(Identity, Vacated) {
    Record record{
        "t",
        Resource::kPercent,
        units(0, 0, 20),
        {share(0, 20)},
        "u1",
        {"u1", "ns", "p", "main", ContainerKind::kApp, true},
        0};
    EXPECT_TRUE(vacated(record, {}, view));
    // Somebody is shown with one of its IDs: that may be its own container.
    EXPECT_FALSE(
        vacated(record, {listed("p", {{"main", {{Resource::kPercent, units(0, 5, 1)}}}})}, view)
    );
    // The same IDs of the other resource mean nothing.
    EXPECT_TRUE(
        vacated(record, {listed("p", {{"main", {{Resource::kWhole, units(0, 5, 1)}}}})}, view)
    );
    record.holder.kind = ContainerKind::kInit;
    EXPECT_FALSE(vacated(record, {listed("p", {{"main", {}}})}, view));
    EXPECT_TRUE(vacated(record, {listed("q", {{"main", {}}})}, view));
    view.upsert(pod("u2", "p", {{"main", ContainerKind::kApp, "20", ""}}));  // replaced
    EXPECT_TRUE(vacated(record, {listed("p", {{"main", {}}})}, view));
    record.holder = {};
    EXPECT_FALSE(vacated(record, {}, view));  // nobody knows whose it is
}

TEST_F(Identity, PlacementReports) {
    const std::vector<core::ContainerSpec> containers{
        {"a", ContainerKind::kApp, "20", ""}, {"b", ContainerKind::kApp, "", "1"}};
    const NodePod plain = node_pod(pod("u1", "p", containers));
    std::vector<Record> records{
        {"t1",
         Resource::kPercent,
         units(0, 0, 20),
         {share(0, 20)},
         "u1",
         {"u1", "ns", "p", "a", ContainerKind::kApp, true},
         0}};
    EXPECT_FALSE(placement_report(plain, records, cards()));  // not all containers are known
    records.push_back(
        {"t2",
         Resource::kWhole,
         {"GPU-2"},
         {share(2, 100)},
         "u1",
         {"u1", "ns", "p", "b", ContainerKind::kApp, true},
         0}
    );
    const auto report = placement_report(plain, records, cards());
    ASSERT_TRUE(report);
    EXPECT_EQ(
        report->placement, (core::Placement{{{"a", {share(0, 20)}}, {"b", {share(2, 100)}}}})
    );
    EXPECT_EQ(
        report->message,
        "container a has 20 percent of card 0, container b has card 2; the pod came to this node "
        "without a placement"
    );
    const NodePod right = node_pod(pod("u1", "p", containers, report->placement));
    EXPECT_FALSE(placement_report(right, records, cards()));
    const NodePod wrong =
        node_pod(pod("u1", "p", containers, {{{"a", {share(1, 20)}}, {"b", {share(2, 100)}}}}));
    const auto corrected = placement_report(wrong, records, cards());
    ASSERT_TRUE(corrected);
    EXPECT_EQ(
        corrected->message, "container a has 20 percent of card 0; its placement named other cards"
    );
    records[0].holder.confirmed = false;
    EXPECT_FALSE(placement_report(wrong, records, cards()));
}

}  // namespace
}  // namespace egpu::agent
