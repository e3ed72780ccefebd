// The node's account: which container holds which share of which real card. Pure: no I/O, threads
// or clock.
//
// The kubelet's device IDs say what a container was handed; the ledger decides which card it really
// gets. Usually both agree. They differ ("override") when IDs are spread over cards, or name a card
// without room: the kubelet can hand one ID out twice, and its view of the two resources lags. The
// kubelet also re-uses an init container's IDs for later containers of the pod: within one pod, IDs
// are therefore counted once per card (the union). Not thread-safe: the owner has the mutex. Units:
// percent of a card.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/device_ids.h"
#include "agent/record.h"
#include "base/result.h"
#include "core/card.h"
#include "core/placement.h"
#include "core/request.h"

namespace egpu::agent {

// A container that may be the one under admission, and the cards its placement names (empty: no
// placement known).
struct Candidate {
    Holder holder;
    std::vector<core::CardShare> cards;
};

struct DeviceState {
    std::string id;
    bool healthy = true;
    int numa = -1;

    bool operator==(const DeviceState&) const = default;
};

struct CardUse {
    core::Card card;
    int percent = 0;     // units held, each pod counted once
    bool whole = false;  // held alone
    int holders = 0;     // records
};

class NodeLedger {
  public:
    // `provisional`: the cards are remembered from an earlier run and the driver has not answered
    // yet. Nothing new is placed then; what is held stays offered as it was, so that the kubelet
    // can re-admit it after a reboot.
    void set_cards(std::vector<core::Card> cards, bool provisional = false);
    const std::vector<core::Card>& cards() const { return cards_; }
    bool provisional() const { return provisional_; }
    // Devices of nvidia.com/gpu on each card (core::Card::replicas).
    int replicas() const { return cards_.empty() ? 1 : cards_.front().replicas; }
    // Where a replica goes whose card nobody named: to the card with the most room, as NVIDIA's
    // plugin does by default, or to the fullest that has room.
    void distribute_replicas(bool distribute) { distribute_ = distribute; }

    // GetPreferredAllocation: IDs the kubelet should take, `size` of them when there are enough.
    // `candidates`: whose container it may be, most likely first. Remembered for the Allocate that
    // follows.
    std::vector<std::string> prefer(
        Resource resource,
        std::span<const std::string> available,
        std::span<const std::string> must_include,
        int size,
        std::span<const Candidate> candidates
    );

    // Allocate: decides the cards and adds a record. `pod_containers`: containers that may be the
    // asking one when the kubelet re-uses IDs (it does not ask for a preference then); only those
    // of the right pod and without a record count. kInvalid for impossible IDs or sizes, kExhausted
    // when nothing fits, kUnavailable while provisional; the messages are fit for the pod's events.
    // A refusal changes nothing.
    Result<Record> admit(
        Resource resource,
        std::span<const std::string> ids,
        std::string token,
        std::int64_t now,
        std::span<const Candidate> pod_containers
    );

    // Takes over what is a fact already (state file, the kubelet's books), even where it does not
    // fit. False when the token is known.
    bool restore(Record record);
    // Names the holder of a record. False when there is no such record or nothing changed.
    bool confirm(std::string_view token, const Holder& holder);
    // Corrects the cards of a record. False when there is no such record or nothing changed.
    bool correct_cards(std::string_view token, std::vector<core::CardShare> cards);
    // Notes that the record's container is given the guard.
    bool set_guarded(std::string_view token);
    bool release(std::string_view token);

    const Record* find(std::string_view token) const;
    const std::vector<Record>& records() const { return records_; }  // oldest first
    // Records with exactly this set of IDs, newest first.
    std::vector<const Record*> with_ids(Resource resource, std::span<const std::string> ids) const;
    // Records that hold at least one of these IDs, oldest first.
    std::vector<const Record*> overlapping(Resource resource, std::span<const std::string> ids)
        const;
    bool has_record(std::string_view pod_uid, std::string_view container, Resource resource) const;

    // Pods whose records are only waiting for the kubelet's evidence: the API server calls them
    // finished or deleted, so a scheduler may have placed the next pod on their cards already.
    // Frees nothing; devices() no longer counts them. True when that may change a list.
    bool set_ended(std::set<std::string, std::less<>> pod_uids);

    // The complete list for ListAndWatch. Of a card that the other resource uses only as many free
    // devices are healthy as there is room for; held devices are as healthy as their card.
    std::vector<DeviceState> devices(Resource resource) const;

    std::vector<CardUse> usage() const;  // as cards()
    // What must never be: a card above 100 percent, or held whole and shared. Empty when all is
    // well.
    std::vector<std::string> violations() const;

    // A share, a number of whole cards or of replicas from a count of IDs; kInvalid for anything
    // else.
    struct Size {
        int percent = 0;  // of each card
        int cards = 1;
        bool whole = false;
    };
    static Result<Size> size_of(Resource resource, std::size_t ids, int replicas);

  private:
    struct Pending {
        std::vector<std::string>
            available;  // sorted; must_include left out: free in the kubelet's eyes
        std::vector<std::string> must_include;
        std::size_t size = 0;
        std::optional<Candidate> candidate;
    };
    const core::Card* card(std::string_view uuid) const;
    // Percent of the card, those waiting for the kubelet's evidence (set_ended) left out.
    int used_through_other(Resource resource, std::string_view card) const;
    // `probe` is the record to be: its IDs, group and kind count. Cards in `wishes` first, then
    // best fit, whole cards close to each other (core/topology.h); empty when nothing fits.
    std::vector<std::string> choose(
        const Record& probe, const Size& size, std::span<const std::string> wishes
    ) const;
    Error refusal(const Record& probe, const Size& size) const;
    // The newest record, of an init container or one of unknown kind, whose IDs the kubelet re-uses
    // here.
    const Record* reused(Resource resource, std::span<const std::string> ids) const;
    std::vector<std::string> pick_ids(
        Resource resource,
        std::span<const std::string> available,
        std::span<const std::string> must_include,
        std::size_t size,
        std::span<const std::string> cards
    ) const;
    std::optional<Pending> take_pending(Resource resource, const std::vector<std::string>& ids);
    void name_holder(
        Record& record,
        const std::optional<Pending>& pending,
        const Record* source,
        std::span<const Candidate> pod_containers,
        std::vector<core::CardShare>& plan
    ) const;

    std::vector<core::Card> cards_;
    bool provisional_ = false;
    bool distribute_ = true;
    std::vector<Record> records_;
    std::map<Resource, Pending> pending_;
    std::set<std::string, std::less<>> ended_;  // UIDs of pods
};

}  // namespace egpu::agent
