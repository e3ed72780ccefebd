#include "base/json.h"
#include "k8s/extender.h"

namespace egpu::k8s {

namespace {

// Node names hardly ever need escaping; this keeps 5,000 of them in microseconds.
void append_name(std::string& out, std::string_view name) {
    for (const char c : name) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
            json::append_quoted(out, name);
            return;
        }
    }
    out.push_back('"');
    out.append(name);
    out.push_back('"');
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

void append_failed(
    std::string& out,
    const ExtenderArgs& args,
    std::span<const FailedNode> failed,
    bool unresolvable
) {
    out.push_back('{');
    bool first = true;
    for (const FailedNode& node : failed) {
        if (node.unresolvable != unresolvable) continue;
        if (!first) out.push_back(',');
        first = false;
        append_name(out, args.nodes[node.node]);
        out.push_back(':');
        append_name(out, node.message);
    }
    out.push_back('}');
}

}  // namespace

std::string write_filter_result(
    const ExtenderArgs& args,
    std::span<const std::uint32_t> fitting,
    std::span<const FailedNode> failed
) {
    std::string out;
    std::size_t size = 256;
    for (const std::uint32_t i : fitting) {
        size += args.names_mode ? args.nodes[i].size() + 4 : args.raw_node(i).size() + 1;
    }
    for (const FailedNode& node : failed) {
        size += args.nodes[node.node].size() + node.message.size() + 8;
    }
    out.reserve(size);
    bool first = true;
    if (args.names_mode) {
        out += R"({"Nodes":null,"NodeNames":[)";
        for (const std::uint32_t i : fitting) {
            if (!first) out.push_back(',');
            first = false;
            append_name(out, args.nodes[i]);
        }
        out += "]";
    } else {
        out += R"({"Nodes":{"metadata":{},"items":[)";
        for (const std::uint32_t i : fitting) {
            if (!first) out.push_back(',');
            first = false;
            out += args.raw_node(i);
        }
        out += R"(]},"NodeNames":null)";
    }
    out += R"(,"FailedNodes":)";
    append_failed(out, args, failed, false);
    out += R"(,"FailedAndUnresolvableNodes":)";
    append_failed(out, args, failed, true);
    out += R"(,"Error":""})";
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
    std::string out;
    out.reserve(2 + scores.size() * 56);
    out.push_back('[');
    for (std::size_t i = 0; i < scores.size(); ++i) {
        out += i == 0 ? R"({"Host":)" : R"(,{"Host":)";
        append_name(out, args.nodes[i]);
        out += R"(,"Score":)";
        out += std::to_string(scores[i]);
        out.push_back('}');
    }
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
        append_name(out, nodes[i].node);
        out += R"(:{"Pods":[)";
        for (std::size_t p = 0; p < nodes[i].uids.size(); ++p) {
            out += p == 0 ? R"({"UID":)" : R"(,{"UID":)";
            append_name(out, nodes[i].uids[p]);
            out.push_back('}');
        }
        out += R"(],"NumPDBViolations":)" + std::to_string(nodes[i].pdb_violations) + "}";
    }
    return out + "}}";
}

}  // namespace egpu::k8s
