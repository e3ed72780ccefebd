// The answers' texts. Node names are copied as JSON writes them (k8s/name_list.h), runs of them at
// once; the nodes themselves are not copied at all.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/json.h"
#include "k8s/extender.h"

namespace egpu::k8s {

namespace {

void append_string(std::string& out, std::string_view text) {
    if (!is_plain(text)) {
        json::append_quoted(out, text);
        return;
    }
    out.push_back('"');
    out += text;
    out.push_back('"');
}

void append_name(std::string& out, const NameList& names, std::size_t i) {
    if (names.all_plain()) {
        out += names.written(i);
    } else {
        json::append_quoted(out, names[i]);
    }
}

// kube-scheduler 1.21 uses Error as a format string.
std::string without_percent(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '%') {
            out += " percent";
        } else {
            out.push_back(c);
        }
    }
    return out;
}

void append_names(std::string& out, const NameList& names, std::span<const std::uint32_t> fitting) {
    if (names.all_plain()) {
        for_each_run(fitting, [&](std::uint32_t first, std::uint32_t last) {
            out += names.written(first, last);
            out.push_back(',');
        });
    } else {
        for (const std::uint32_t i : fitting) {
            append_name(out, names, i);
            out.push_back(',');
        }
    }
    if (!fitting.empty()) out.pop_back();
}

// Reasons as an object's value: `:"why",`.
std::vector<std::string> written_values(std::span<const FilterReason> reasons) {
    std::vector<std::string> values;
    values.reserve(reasons.size());
    for (const FilterReason& reason : reasons) {
        std::string& value = values.emplace_back(":");
        append_string(value, reason.message);
        value.push_back(',');
    }
    return values;
}

// `failed` needs no more than `most` bytes when all names are plain.
void append_failed(
    std::string& out,
    const NameList& names,
    std::span<const FailedNode> failed,
    std::span<const FilterReason> reasons,
    std::span<const std::string> values,
    bool unresolvable,
    std::size_t most
) {
    out.push_back('{');
    const bool any = std::any_of(reasons.begin(), reasons.end(), [&](const auto& reason) {
        return reason.unresolvable == unresolvable;
    });
    if (any && names.all_plain()) {  // thousands of short pieces: appending each costs more
        const std::size_t before = out.size();
        out.resize(before + most);
        char* to = out.data() + before;
        const auto put = [&](std::string_view text) {
            std::memcpy(to, text.data(), text.size());
            to += text.size();
        };
        for (const FailedNode& node : failed) {
            if (reasons[node.reason].unresolvable != unresolvable) continue;
            put(names.written(node.node));
            put(values[node.reason]);
        }
        out.resize(static_cast<std::size_t>(to - out.data()));
    } else if (any) {
        for (const FailedNode& node : failed) {
            if (reasons[node.reason].unresolvable != unresolvable) continue;
            append_name(out, names, node.node);
            out += values[node.reason];
        }
    }
    if (out.back() == ',') out.pop_back();
    out.push_back('}');
}

// The nodes as they lie in the request: neighbours are one slice, together with what is between
// them; what follows a slice in the request, up to the next node, parts it from the next slice.
void splice_nodes(
    std::vector<std::string_view>& slices,
    const std::vector<std::string_view>& nodes,
    std::span<const std::uint32_t> fitting
) {
    const std::uint32_t very_last = fitting.empty() ? 0 : fitting.back();
    for_each_run(fitting, [&](std::uint32_t first, std::uint32_t last) {
        const char* const from = nodes[first].data();
        const char* const to =
            last == very_last ? nodes[last].data() + nodes[last].size() : nodes[last + 1].data();
        slices.emplace_back(from, static_cast<std::size_t>(to - from));
    });
}

}  // namespace

std::vector<std::string_view> SplicedText::pieces() const {
    std::vector<std::string_view> all;
    all.reserve(slices.size() + 2);
    all.emplace_back(before);
    all.insert(all.end(), slices.begin(), slices.end());
    all.emplace_back(after);
    return all;
}

std::string SplicedText::text() && {
    for (const std::string_view slice : slices) before += slice;
    before += after;
    return std::move(before);
}

SplicedText write_filter_result(
    const ExtenderArgs& args,
    std::span<const std::uint32_t> fitting,
    std::span<const FailedNode> failed,
    std::span<const FilterReason> reasons
) {
    SplicedText out;
    const std::vector<std::string> values = written_values(reasons);
    std::size_t failed_size = 0;
    for (const FailedNode& node : failed) {
        failed_size += args.nodes[node.node].size() + 2 + values[node.reason].size();
    }
    const std::size_t size = 256 + failed_size;
    if (args.names_mode) {
        out.before.reserve(size + args.nodes.written_size());
        out.before = R"({"Nodes":null,"NodeNames":[)";
        append_names(out.before, args.nodes, fitting);
        out.before += "]";
    } else {
        out.before = R"({"Nodes":{"metadata":{},"items":[)";
        splice_nodes(out.slices, args.node_texts, fitting);
        out.after.reserve(size);
        out.after = R"(]},"NodeNames":null)";
    }
    std::string& rest = args.names_mode ? out.before : out.after;
    rest += R"(,"FailedNodes":)";
    append_failed(rest, args.nodes, failed, reasons, values, false, failed_size);
    rest += R"(,"FailedAndUnresolvableNodes":)";
    append_failed(rest, args.nodes, failed, reasons, values, true, failed_size);
    rest += R"(,"Error":""})";
    return out;
}

std::string write_filter_error(std::string_view error) {
    std::string out =
        R"({"Nodes":null,"NodeNames":[],"FailedNodes":{},"FailedAndUnresolvableNodes":{},"Error":)";
    json::append_quoted(out, without_percent(error.empty() ? "unknown error" : error));
    return out + "}";
}

std::string write_priorities(const ExtenderArgs& args, std::span<const int> scores) {
    EG_CHECK(scores.size() == args.nodes.size());
    static constexpr std::string_view kHost = R"({"Host":)";
    constexpr std::size_t kScoreCount = 11;
    static const std::array<std::string, kScoreCount> kScores = [] {
        std::array<std::string, kScoreCount> texts;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            texts[i] = R"(,"Score":)" + std::to_string(i) + "},";
        }
        return texts;
    }();
    const auto score_of = [&](std::size_t i) -> std::string_view {
        EG_CHECK(scores[i] >= 0 && scores[i] <= 10);
        return kScores[static_cast<std::size_t>(scores[i])];
    };
    std::string out = "[";
    if (args.nodes.all_plain()) {  // a few bytes at a time: appending would cost more than copying
        // Pieces of a fixed size, of which the rest is overwritten by what follows.
        constexpr std::size_t kPiece = 16;
        static constexpr std::array<char, kPiece> kHostPiece{
            '{', '"', 'H', 'o', 's', 't', '"', ':'};
        static const auto kScorePieces = [] {
            std::array<std::array<char, kPiece>, kScoreCount> pieces{};
            for (std::size_t i = 0; i < pieces.size(); ++i) {
                EG_CHECK(kScores[i].size() <= kPiece);
                std::memcpy(pieces[i].data(), kScores[i].data(), kScores[i].size());
            }
            return pieces;
        }();
        const std::size_t most = kHost.size() + kScores.back().size();
        out.resize(1 + args.nodes.written_size() + scores.size() * most + kPiece);
        char* to = out.data() + 1;
        for (std::size_t i = 0; i < scores.size(); ++i) {
            std::memcpy(to, kHostPiece.data(), kPiece);
            to += kHost.size();
            const std::string_view name = args.nodes.written(i);
            std::memcpy(to, name.data(), name.size());
            to += name.size();
            const std::size_t length = score_of(i).size();
            std::memcpy(to, kScorePieces[static_cast<std::size_t>(scores[i])].data(), kPiece);
            to += length;
        }
        out.resize(static_cast<std::size_t>(to - out.data()));
    } else {
        for (std::size_t i = 0; i < scores.size(); ++i) {
            out += kHost;
            append_name(out, args.nodes, i);
            out += score_of(i);
        }
    }
    if (!scores.empty()) out.pop_back();
    out.push_back(']');
    return out;
}

std::string write_binding_result(std::string_view error) {
    std::string out = R"({"Error":)";
    json::append_quoted(out, without_percent(error));
    return out + "}";
}

std::string write_preemption_result(std::span<const ExtenderVictims> nodes) {
    std::string out = R"({"NodeNameToMetaVictims":{)";
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (i > 0) out.push_back(',');
        append_string(out, nodes[i].node);
        out += R"(:{"Pods":[)";
        for (std::size_t p = 0; p < nodes[i].uids.size(); ++p) {
            out += p == 0 ? R"({"UID":)" : R"(,{"UID":)";
            append_string(out, nodes[i].uids[p]);
            out.push_back('}');
        }
        out += R"(],"NumPDBViolations":)" + std::to_string(nodes[i].pdb_violations) + "}";
    }
    return out + "}}";
}

}  // namespace egpu::k8s
