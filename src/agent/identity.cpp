#include "agent/identity.h"

#include <algorithm>
#include <map>
#include <set>

#include "inject/cdi_spec.h"
#include "inject/edits.h"

namespace egpu::agent {
namespace {

using Alive = BookEntry::Alive;

std::optional<core::ContainerKind> kind_in(const NodePodPtr& pod, std::string_view container) {
    if (!pod) return std::nullopt;
    for (const core::ContainerRequest& request : pod->request.containers) {
        if (request.name == container) return request.kind;
    }
    return std::nullopt;
}

bool holds(
    const ListedContainer& container, Resource resource, const std::vector<std::string>& ids
) {
    const auto found = container.ids.find(resource);
    return found != container.ids.end() && found->second == ids;
}

// The one listed pod with a container of that name and exactly these IDs; nullptr when there is
// none or several.
const ListedPod* only_listed(const std::vector<ListedPod>& pods, const BookEntry& entry) {
    const ListedPod* found = nullptr;
    for (const ListedPod& pod : pods) {
        const ListedContainer* container = pod.container(entry.holder.container);
        if (container == nullptr || !holds(*container, entry.resource, entry.ids)) continue;
        if (found != nullptr) return nullptr;
        found = &pod;
    }
    return found;
}

Alive alive_in(const KubeletBooks& books, const PodsView& view, const BookEntry& entry) {
    if (!books.pods) return Alive::kUnclear;
    if (entry.holder.pod_name.empty()) {
        // Neither the list nor the API server knows the pod. With a live view that is an entry the
        // kubelet has not written away yet; without one it may be a pod that was not admitted again
        // so far.
        return view.connected() && !view.by_uid(entry.holder.pod_uid) ? Alive::kNo
                                                                      : Alive::kUnclear;
    }
    const ListedPod* pod = books.pod(entry.holder.pod_namespace, entry.holder.pod_name);
    const NodePodPtr known = view.by_uid(entry.holder.pod_uid);
    if (pod == nullptr) return known && known->terminal ? Alive::kNo : Alive::kUnclear;
    const NodePodPtr now = view.by_name(entry.holder.pod_namespace, entry.holder.pod_name);
    if (now && now->uid != entry.holder.pod_uid)
        return Alive::kNo;  // replaced by a pod of the same name
    const ListedContainer* container = pod->container(entry.holder.container);
    if (container != nullptr)
        return holds(*container, entry.resource, entry.ids) ? Alive::kYes : Alive::kNo;
    // Plain init containers are never listed, sidecars only from 1.30 on; the pod's containers are
    // as long as their pod is.
    const auto kind = entry.holder.kind;
    return !kind || *kind != core::ContainerKind::kApp ? Alive::kYes : Alive::kNo;
}

std::string basename(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

}  // namespace

std::vector<std::string> cards_given(
    const kubelet::AllocateResponse& answer, const std::vector<core::Card>& cards
) {
    std::set<std::string> names;
    const auto add_list = [&](std::string_view list) {
        while (!list.empty()) {
            const std::size_t end = std::min(list.find(','), list.size());
            std::string_view name = list.substr(0, end);
            // A CDI device: vendor/class=name.
            if (const std::size_t equals = name.find('='); equals != std::string_view::npos) {
                name.remove_prefix(equals + 1);
            }
            names.emplace(name);
            list.remove_prefix(std::min(end + 1, list.size()));
        }
    };
    const auto env = answer.envs.find("NVIDIA_VISIBLE_DEVICES");
    if (env != answer.envs.end()) add_list(env->second);
    for (const kubelet::Mount& mount : answer.mounts) {
        if (mount.host_path == "/dev/null") names.insert(basename(mount.container_path));
    }
    for (const std::string& device : answer.cdi_names) add_list(device);
    for (const auto& [key, value] : answer.annotations) {
        if (key == inject::kAnnotationGiven || key.starts_with("cdi.k8s.io/")) add_list(value);
    }
    std::vector<std::string> uuids;
    for (const core::Card& card : cards) {
        if (names.contains(card.uuid) || names.contains(inject::cdi_device_name(card.uuid)) ||
            names.contains(std::to_string(card.index))) {
            uuids.push_back(card.uuid);
        }
    }
    return uuids;
}

std::vector<BookEntry> book_entries(
    const KubeletBooks& books, const PodsView& view, const std::vector<core::Card>& cards
) {
    std::vector<BookEntry> entries;
    std::map<std::string, const ListedPod*> named;  // UID -> pod, where only the list has the name
    if (books.checkpoint) {
        for (const CheckpointedContainer& c : *books.checkpoint) {
            BookEntry& entry = entries.emplace_back();
            entry.holder = {c.pod_uid, "", "", c.container, std::nullopt, true};
            entry.resource = c.resource;
            entry.ids = c.ids;
            const auto token = c.given.annotations.find(std::string(kAnnotationAllocation));
            if (token != c.given.annotations.end()) entry.token = token->second;
            entry.given = cards_given(c.given, cards);
            if (const NodePodPtr pod = view.by_uid(c.pod_uid)) {
                entry.holder.pod_namespace = pod->ns;
                entry.holder.pod_name = pod->name;
                entry.holder.kind = kind_in(pod, c.container);
            } else if (books.pods) {
                if (const ListedPod* pod_listed = only_listed(*books.pods, entry)) {
                    named[c.pod_uid] = pod_listed;
                }
            }
        }
    }
    for (BookEntry& entry : entries) {
        const auto found = named.find(entry.holder.pod_uid);
        if (entry.holder.pod_name.empty() && found != named.end()) {
            entry.holder.pod_namespace = found->second->ns;
            entry.holder.pod_name = found->second->name;
        }
        entry.alive = alive_in(books, view, entry);
    }
    if (!books.pods) return entries;

    const std::size_t checkpointed = entries.size();
    for (const ListedPod& pod : *books.pods) {
        for (const ListedContainer& container : pod.containers) {
            for (const auto& [resource, ids] : container.ids) {
                const bool known = std::any_of(
                    entries.begin(),
                    entries.begin() + static_cast<std::ptrdiff_t>(checkpointed),
                    [&](const BookEntry& e) {
                        return e.alive == Alive::kYes && e.resource == resource && e.ids == ids &&
                               e.holder.container == container.name &&
                               e.holder.pod_name == pod.name && e.holder.pod_namespace == pod.ns;
                    }
                );
                if (known) continue;
                BookEntry entry;
                const NodePodPtr seen = view.by_name(pod.ns, pod.name);
                entry.holder = {
                    seen ? seen->uid : "",
                    pod.ns,
                    pod.name,
                    container.name,
                    kind_in(seen, container.name),
                    true};
                entry.resource = resource;
                entry.ids = ids;
                entry.alive = Alive::kYes;
                entries.push_back(std::move(entry));
            }
        }
    }
    return entries;
}

std::vector<const BookEntry*> match_records(
    std::span<const Record> records, std::span<const BookEntry> entries
) {
    std::vector<const BookEntry*> matches(records.size(), nullptr);
    std::vector<bool> used(entries.size(), false);
    const auto pass = [&](const auto& same) {
        for (std::size_t r = 0; r < records.size(); ++r) {
            for (std::size_t e = 0; matches[r] == nullptr && e < entries.size(); ++e) {
                if (used[e] || !same(records[r], entries[e])) continue;
                used[e] = true;
                matches[r] = &entries[e];
            }
        }
    };
    const auto same_ids = [](const Record& r, const BookEntry& e) {
        return r.resource == e.resource && r.ids == e.ids;
    };
    pass([](const Record& r, const BookEntry& e) { return !e.token.empty() && e.token == r.token; }
    );
    // An entry with another record's token is not ours, whatever its IDs are.
    const auto open = [](const BookEntry& e) { return e.token.empty(); };
    const auto same_name = [](const Record& r, const BookEntry& e) {
        return r.holder.container == e.holder.container &&
               (r.holder.pod_uid == e.holder.pod_uid ||
                (e.holder.pod_uid.empty() && r.holder.pod_name == e.holder.pod_name &&
                 r.holder.pod_namespace == e.holder.pod_namespace));
    };
    pass([&](const Record& r, const BookEntry& e) {
        return open(e) && same_ids(r, e) && same_name(r, e);
    });
    pass([&](const Record& r, const BookEntry& e) {
        return open(e) && same_ids(r, e) && e.alive == Alive::kYes && !r.holder.confirmed;
    });
    pass([&](const Record& r, const BookEntry& e) {
        return open(e) && same_ids(r, e) && e.alive == Alive::kUnclear && !r.holder.confirmed;
    });
    return matches;
}

std::optional<Record> adopted_record(
    const BookEntry& entry,
    const PodsView& view,
    const std::vector<core::Card>& cards,
    const std::string& token_if_none,
    std::int64_t now
) {
    const int replicas = cards.empty() ? 1 : cards.front().replicas;
    const auto size = NodeLedger::size_of(entry.resource, entry.ids.size(), replicas);
    if (!size) return std::nullopt;
    Record record;
    record.token = entry.token.empty() ? token_if_none : entry.token;
    record.resource = entry.resource;
    record.ids = entry.ids;
    record.holder = entry.holder;
    record.time = now;

    std::vector<core::CardShare> plan;
    if (const NodePodPtr pod = view.by_uid(entry.holder.pod_uid)) {
        for (const Candidate& candidate : candidates_of(*pod, entry.resource, 0, cards)) {
            if (candidate.holder.container == entry.holder.container) plan = candidate.cards;
        }
    }
    const auto wanted = static_cast<std::size_t>(size->cards);
    std::vector<std::string> uuids = entry.given;
    if (uuids.size() != wanted) {
        uuids.clear();
        for (const core::CardShare& share : plan) uuids.push_back(share.uuid);
    }
    if (uuids.size() != wanted) {
        uuids.clear();
        for (const auto& [uuid, count] : count_by_card(entry.resource, entry.ids)) {
            if (uuids.size() < wanted) uuids.push_back(uuid);
        }
    }
    if (uuids.size() != wanted) return std::nullopt;
    for (const std::string& uuid : uuids) {
        core::CardShare share{uuid, 0, size->percent, plan.empty() ? 0 : plan.front().memory_mib};
        for (const core::Card& card : cards) {
            if (card.uuid == uuid) share.index = card.index;
        }
        record.cards.push_back(std::move(share));
    }
    return record;
}

std::vector<Candidate> admission_candidates(
    Resource resource,
    int units,
    const std::optional<std::vector<ListedPod>>& listed,
    std::span<const NodePodPtr> pods,
    const HasRecord& has_record,
    const std::vector<core::Card>& cards
) {
    std::vector<Candidate> candidates;
    const auto add = [&](const NodePod& pod, const ListedPod* shown) {
        if (pod.terminal) return;
        for (Candidate& candidate : candidates_of(pod, resource, units, cards)) {
            const std::string& container = candidate.holder.container;
            if (has_record(pod.uid, container, resource)) continue;
            const ListedContainer* entry = shown != nullptr ? shown->container(container) : nullptr;
            if (entry != nullptr && entry->ids.contains(resource)) continue;
            candidates.push_back(std::move(candidate));
        }
    };
    if (!listed) {
        for (const NodePodPtr& pod : pods) add(*pod, nullptr);
        return candidates;
    }
    for (const ListedPod& shown : *listed) {
        // The newest of that name: a replaced pod may still be in the view.
        const auto pod = std::find_if(pods.rbegin(), pods.rend(), [&](const NodePodPtr& p) {
            return p->name == shown.name && p->ns == shown.ns;
        });
        if (pod != pods.rend()) add(**pod, &shown);
    }
    return candidates;
}

bool vacated(const Record& record, const std::vector<ListedPod>& listed, const PodsView& view) {
    const std::set<std::string_view> ids(record.ids.begin(), record.ids.end());
    bool pod_listed = false;
    for (const ListedPod& pod : listed) {
        if (pod.name == record.holder.pod_name && pod.ns == record.holder.pod_namespace)
            pod_listed = true;
        for (const ListedContainer& container : pod.containers) {
            const auto held = container.ids.find(record.resource);
            if (held == container.ids.end()) continue;
            for (const std::string& id : held->second) {
                if (ids.contains(id)) return false;
            }
        }
    }
    const auto kind = record.holder.kind;
    if (kind && *kind != core::ContainerKind::kInit) return true;
    if (record.holder.pod_name.empty()) return false;
    if (!pod_listed) return true;
    const NodePodPtr now = view.by_name(record.holder.pod_namespace, record.holder.pod_name);
    return now && now->uid != record.holder.pod_uid;
}

}  // namespace egpu::agent
