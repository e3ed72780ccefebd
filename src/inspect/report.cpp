#include "inspect/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "inspect/table.h"

namespace egpu::inspect {
namespace {

constexpr std::size_t kWorstNodes = 5;

std::string cards_text(double cards) {
    char text[32];
    std::snprintf(text, sizeof text, "%.2f", cards);
    return text;
}

std::string counted(std::size_t n, const std::string& word) {
    return std::to_string(n) + " " + word + (n == 1 ? "" : "s");
}

std::string percent_of(double part, double whole) {
    return whole <= 0 ? "0 %" : std::to_string(std::lround(100 * part / whole)) + " %";
}

std::string pod_name(const core::ClusterPod& pod) {
    return pod.id.ns + "/" + pod.id.name;
}

// "20 % + 2 cards"
std::string gpu_text(const core::PodRequest& request) {
    std::string text;
    for (const core::ContainerRequest& container : request.containers) {
        if (!text.empty()) text += " + ";
        text += container.whole ? counted(static_cast<std::size_t>(container.cards), "card")
                                : std::to_string(container.percent) + " %";
    }
    return text;
}

std::string model_text(const std::string& model) {
    return model.empty() ? "(unknown)" : model;
}

// The causes, the largest part first.
std::vector<core::Stranding> causes_of(const core::CardTotals& totals) {
    std::vector<core::Stranding> causes;
    for (int i = 0; i < core::kStrandings; ++i) {
        if (totals.stranded[i] >= 0.005) causes.push_back(static_cast<core::Stranding>(i));
    }
    std::stable_sort(causes.begin(), causes.end(), [&](auto a, auto b) {
        return totals.stranded[static_cast<std::size_t>(a)] >
               totals.stranded[static_cast<std::size_t>(b)];
    });
    return causes;
}

class Page {
  public:
    Page(const Description& d, int width) : d_(d), width_(width) {}

    std::string text() {
        head();
        models();
        causes();
        worst_nodes();
        if (d_.free) free();
        return std::move(out_);
    }

  private:
    void prose(const std::string& text) { out_ += wrapped(text, width_, 0); }
    const core::ClusterNode& node(int use) const { return d_.cluster.nodes[d_.uses[use].node]; }

    void head() {
        const core::CardTotals& all = d_.stranded.all;
        std::size_t pending = 0;
        for (const core::ClusterPod& pod : d_.cluster.pods) {
            pending += pod.node.empty() && !pod.request.empty() ? 1 : 0;
        }
        prose(
            counted(d_.stranded.nodes.size(), "node") + " with " +
            counted(static_cast<std::size_t>(all.cards), "card") + ": " + cards_text(all.used) +
            " used (" + percent_of(all.used, all.cards) + "), " + cards_text(all.free) + " free, " +
            cards_text(all.stranded_total()) + " of it stranded"
        );
        prose(
            counted(static_cast<std::size_t>(d_.stranded.pods_seen), "pod") + " with GPU, of " +
            counted(static_cast<std::size_t>(d_.stranded.kinds_seen), "kind") + "; " +
            std::to_string(pending) + " waiting"
        );
    }

    void models() {
        Table table(
            {{"MODEL", false, true},
             {"CARDS", true, false},
             {"USED", true, false},
             {"FREE", true, false},
             {"USABLE", true, false},
             {"STRANDED", true, false}}
        );
        const auto row = [&](const std::string& name, const core::CardTotals& totals) {
            table.row(
                {name,
                 std::to_string(totals.cards),
                 cards_text(totals.used),
                 cards_text(totals.free),
                 cards_text(totals.usable),
                 cards_text(totals.stranded_total())}
            );
        };
        for (const auto& model : d_.stranded.models) row(model_text(model.model), model.totals);
        if (d_.stranded.models.size() != 1) row("all", d_.stranded.all);
        out_ += "\n" + table.text(width_);
    }

    void causes() {
        const auto causes = causes_of(d_.stranded.all);
        if (causes.empty()) return;
        std::vector<Table::Column> columns{
            {"STRANDED BECAUSE", false, true}, {"CARDS", true, false}};
        Table table(columns);
        for (const core::Stranding cause : causes) {
            table.row(
                {std::string(core::stranding_text(cause)),
                 cards_text(d_.stranded.all.stranded[static_cast<std::size_t>(cause)])}
            );
        }
        out_ += "\n" + table.text(width_);
    }

    void worst_nodes() {
        std::vector<core::NodeTotals> nodes = d_.stranded.nodes;
        std::erase_if(nodes, [](const auto& n) { return n.totals.stranded_total() < 0.005; });
        if (nodes.empty()) return;
        std::stable_sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) {
            return a.totals.stranded_total() > b.totals.stranded_total();
        });
        Table table(
            {{"NODE", false, true}, {"STRANDED", true, false}, {"MOSTLY BECAUSE", false, true}}
        );
        for (std::size_t i = 0; i < std::min(kWorstNodes, nodes.size()); ++i) {
            const auto causes = causes_of(nodes[i].totals);
            table.row(
                {d_.cluster.nodes[nodes[i].node].name,
                 cards_text(nodes[i].totals.stranded_total()),
                 causes.empty() ? "" : std::string(core::stranding_text(causes.front()))}
            );
        }
        out_ += "\n" + table.text(width_);
        if (nodes.size() > kWorstNodes) {
            prose("and " + counted(nodes.size() - kWorstNodes, "more node") + " (-o json has all)");
        }
    }

    void free() {
        const core::FreeCardsPlan& plan = *d_.free;
        const core::FreeCardsRequest& asked = d_.free_request;
        std::string what = counted(static_cast<std::size_t>(asked.cards), "free card");
        for (std::size_t i = 0; i < asked.models.size(); ++i) {
            what += (i == 0 ? " of " : " or ") + asked.models[i];
        }
        what += asked.anywhere ? " on all nodes together" : " on one node";
        out_ += "\n";
        if (!plan.possible) {
            prose(what + ": not possible, " + plan.why_not);
            return;
        }
        if (plan.moves.empty()) {
            const std::string where =
                asked.anywhere ? "there are " : node(plan.node).name + " has ";
            prose(printable(what + ": no move needed, " + where + std::to_string(plan.free_now)));
            return;
        }
        const std::string where = asked.anywhere ? "" : " off " + node(plan.node).name;
        prose(printable(
            what + ": " + counted(plan.moves.size(), "pod") + " would have to move" + where +
            (plan.smallest ? " (no smaller set would do)" : " (a smaller set was not ruled out)")
        ));
        Table table(
            {{"POD", false, true},
             {"GPU", false, false},
             {"FROM", false, true},
             {"TO", false, true},
             {"CARD", false, false},
             {"MADE AGAIN BY", false, false}}
        );
        for (const core::PodMove& move : plan.moves) {
            const core::ClusterPod& pod = d_.cluster.pods[move.pod];
            std::string cards;
            for (const int card : move.cards) {
                cards += (cards.empty() ? "" : ",") +
                         std::to_string(d_.uses[move.to].cards[card].card.index);
            }
            table.row(
                {pod_name(pod),
                 gpu_text(pod.request),
                 node(move.from).name,
                 node(move.to).name,
                 cards,
                 pod.owner.empty() ? "nothing" : pod.owner}
            );
        }
        out_ += table.text(width_);
        prose(
            "Nothing was changed. The scheduler decides where a pod that is deleted and made again "
            "really goes; node "
            "selectors, affinity and taints were not looked at."
        );
    }

    const Description& d_;
    int width_;
    std::string out_;
};

double rounded(double cards) {
    return std::round(cards * 1000) / 1000;
}

json::object totals_json(const core::CardTotals& totals) {
    json::object stranded;
    for (int i = 0; i < core::kStrandings; ++i) {
        stranded[core::stranding_name(static_cast<core::Stranding>(i))] =
            rounded(totals.stranded[i]);
    }
    return {
        {"cards", totals.cards},
        {"used", rounded(totals.used)},
        {"free", rounded(totals.free)},
        {"usable", rounded(totals.usable)},
        {"stranded", std::move(stranded)}};
}

json::object free_json(const Description& d) {
    const core::FreeCardsPlan& plan = *d.free;
    json::array moves;
    for (const core::PodMove& move : plan.moves) {
        const core::ClusterPod& pod = d.cluster.pods[move.pod];
        json::array cards;
        for (const int card : move.cards) cards.push_back(d.uses[move.to].cards[card].card.index);
        moves.push_back(json::object{
            {"namespace", pod.id.ns},
            {"pod", pod.id.name},
            {"uid", pod.id.uid},
            {"from", d.cluster.nodes[d.uses[move.from].node].name},
            {"to", d.cluster.nodes[d.uses[move.to].node].name},
            {"cards", std::move(cards)},
            {"owner", pod.owner}});
    }
    json::array models;
    for (const std::string& model : d.free_request.models) models.emplace_back(model);
    json::object out{
        {"cards", d.free_request.cards},
        {"anywhere", d.free_request.anywhere},
        {"models", std::move(models)},
        {"possible", plan.possible},
        {"freeNow", plan.free_now},
        {"smallest", plan.smallest},
        {"moves", std::move(moves)}};
    if (plan.possible && !d.free_request.anywhere) {
        out["node"] = d.cluster.nodes[d.uses[plan.node].node].name;
    }
    if (!plan.possible) out["whyNot"] = plan.why_not;
    return out;
}

}  // namespace

Description describe(core::Cluster cluster, const core::FreeCardsRequest& free) {
    Description d;
    d.cluster = std::move(cluster);
    d.uses = core::cluster_use(d.cluster);
    d.stranded = core::find_stranded(d.cluster, d.uses);
    d.free_request = free;
    if (free.cards > 0) d.free = core::plan_free_cards(d.cluster, d.uses, free);
    return d;
}

std::string render_text(const Description& description, int width) {
    return Page(description, width).text();
}

json::value render_json(const Description& d) {
    json::array models;
    for (const auto& model : d.stranded.models) {
        json::object one = totals_json(model.totals);
        one["model"] = model.model;
        models.push_back(std::move(one));
    }
    json::array nodes;
    for (const auto& node : d.stranded.nodes) {
        json::object one = totals_json(node.totals);
        one["node"] = d.cluster.nodes[node.node].name;
        nodes.push_back(std::move(one));
    }
    json::object out{
        {"version", 1},
        {"podsWithGpu", d.stranded.pods_seen},
        {"kinds", d.stranded.kinds_seen},
        {"all", totals_json(d.stranded.all)},
        {"models", std::move(models)},
        {"nodes", std::move(nodes)}};
    if (d.free) out["free"] = free_json(d);
    return out;
}

}  // namespace egpu::inspect
