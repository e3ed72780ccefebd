#include "testing/apiserver/printers.h"

#include <ctime>

namespace egpu::testing {
namespace {

constexpr std::string_view kNone = "<none>";

std::string_view text(const Object& o, std::initializer_list<std::string_view> path) {
    return json::get_string(o.doc(), path);
}

std::string_view or_none(std::string_view s) {
    return s.empty() ? kNone : s;
}

std::string age(const Object& o) {
    return age_of(text(o, {"metadata", "creationTimestamp"}));
}

std::size_t entries(const Object& o, std::string_view map) {
    const json::object* found = json::get_object(o.doc(), {map});
    return found == nullptr ? 0 : found->size();
}

std::string duration_text(std::int64_t s) {
    const auto two = [](std::int64_t a, const char* ua, std::int64_t b, const char* ub) {
        return std::to_string(a) + ua + (b > 0 ? std::to_string(b) + ub : std::string());
    };
    if (s < 0) return s >= -1 ? "0s" : "<invalid>";
    const std::int64_t m = s / 60;
    const std::int64_t h = s / 3600;
    const std::int64_t d = h / 24;
    if (s < 120) return std::to_string(s) + "s";
    if (m < 10) return two(m, "m", s % 60, "s");
    if (m < 180) return std::to_string(m) + "m";
    if (h < 8) return two(h, "h", m % 60, "m");
    if (h < 48) return std::to_string(h) + "h";
    if (d < 8) return two(d, "d", h % 24, "h");
    if (d < 730) return std::to_string(d) + "d";
    return two(d / 365, "y", d % 365, "d");
}

std::string node_address(const Object& o, std::string_view type) {
    const json::array* addresses = json::get_array(o.doc(), {"status", "addresses"});
    if (addresses == nullptr) return std::string(kNone);
    for (const auto& a : *addresses) {
        if (json::get_string(a, {"type"}) == type)
            return std::string(json::get_string(a, {"address"}));
    }
    return std::string(kNone);
}

std::string node_status(const Object& o) {
    std::string status = "Unknown";
    if (const json::array* conditions = json::get_array(o.doc(), {"status", "conditions"})) {
        for (const auto& c : *conditions) {
            if (json::get_string(c, {"type"}) != "Ready") continue;
            status = json::get_string(c, {"status"}) == "True" ? "Ready" : "NotReady";
        }
    }
    if (json::get_bool(o.doc(), {"spec", "unschedulable"})) status += ",SchedulingDisabled";
    return status;
}

std::string node_roles(const Object& o) {
    static constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
    std::string roles;
    const json::object* labels = json::get_object(o.doc(), {"metadata", "labels"});
    if (labels == nullptr) return std::string(kNone);
    for (const auto& label : *labels) {
        const std::string_view key(label.key().data(), label.key().size());
        if (!key.starts_with(kPrefix)) continue;
        if (!roles.empty()) roles += ',';
        roles += key.substr(kPrefix.size());
    }
    return roles.empty() ? std::string(kNone) : roles;
}

std::string service_ports(const Object& o) {
    std::string out;
    const json::array* ports = json::get_array(o.doc(), {"spec", "ports"});
    if (ports == nullptr) return std::string(kNone);
    for (const auto& p : *ports) {
        if (!out.empty()) out += ',';
        const auto protocol = json::get_string(p, {"protocol"});
        out += std::to_string(json::get_int(p, {"port"}).value_or(0));
        out += '/';
        out += protocol.empty() ? "TCP" : protocol;
    }
    return out.empty() ? std::string(kNone) : out;
}

std::string lower_case(std::string_view kind) {
    std::string out(kind);
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

}  // namespace

std::string age_of(std::string_view timestamp) {
    std::tm parts{};
    const std::string copy(timestamp.substr(0, 19));
    if (copy.size() != 19 || strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts) == nullptr)
        return "<unknown>";
    return duration_text(std::time(nullptr) - timegm(&parts));
}

void print_node(const Object& o, json::array& cells) {
    const auto info = [&](std::string_view key) {
        const auto v = text(o, {"status", "nodeInfo", key});
        return v.empty() ? std::string_view("<unknown>") : v;
    };
    cells.emplace_back(o.name());
    cells.emplace_back(node_status(o));
    cells.emplace_back(node_roles(o));
    cells.emplace_back(age(o));
    cells.emplace_back(text(o, {"status", "nodeInfo", "kubeletVersion"}));
    cells.emplace_back(node_address(o, "InternalIP"));
    cells.emplace_back(node_address(o, "ExternalIP"));
    cells.emplace_back(info("osImage"));
    cells.emplace_back(info("kernelVersion"));
    cells.emplace_back(info("containerRuntimeVersion"));
}

void print_event(const Object& o, json::array& cells) {
    std::string_view first = text(o, {"firstTimestamp"});
    if (first.empty()) first = text(o, {"eventTime"});
    if (first.empty()) first = text(o, {"metadata", "creationTimestamp"});
    std::string_view last = text(o, {"series", "lastObservedTime"});
    if (last.empty()) last = text(o, {"lastTimestamp"});
    if (last.empty()) last = first;
    auto count = json::get_int(o.doc(), {"series", "count"});
    if (!count) count = json::get_int(o.doc(), {"count"});
    std::string object = lower_case(text(o, {"involvedObject", "kind"}));
    if (const auto name = text(o, {"involvedObject", "name"}); !name.empty())
        object.append("/").append(name);
    std::string source(text(o, {"source", "component"}));
    if (source.empty()) source = text(o, {"reportingComponent"});
    if (const auto host = text(o, {"source", "host"}); !host.empty())
        source.append(", ").append(host);
    std::string_view message = text(o, {"message"});
    while (!message.empty() && message.back() == '\n') message.remove_suffix(1);
    cells.emplace_back(age_of(last));
    cells.emplace_back(text(o, {"type"}));
    cells.emplace_back(text(o, {"reason"}));
    cells.emplace_back(object);
    cells.emplace_back(text(o, {"involvedObject", "fieldPath"}));
    cells.emplace_back(source);
    cells.emplace_back(message);
    cells.emplace_back(age_of(first));
    cells.emplace_back(std::to_string(count.value_or(1)));
    cells.emplace_back(o.name());
}

void print_namespace(const Object& o, json::array& cells) {
    cells.emplace_back(o.name());
    cells.emplace_back(text(o, {"status", "phase"}));
    cells.emplace_back(age(o));
}

void print_service(const Object& o, json::array& cells) {
    std::string selector;
    if (const json::object* map = json::get_object(o.doc(), {"spec", "selector"})) {
        for (const auto& entry : *map) {
            if (!selector.empty()) selector += ',';
            selector.append(entry.key()).append("=");
            if (entry.value().is_string()) selector += entry.value().get_string();
        }
    }
    cells.emplace_back(o.name());
    cells.emplace_back(text(o, {"spec", "type"}));
    cells.emplace_back(or_none(text(o, {"spec", "clusterIP"})));
    cells.emplace_back(kNone);
    cells.emplace_back(service_ports(o));
    cells.emplace_back(age(o));
    cells.emplace_back(selector.empty() ? std::string(kNone) : selector);
}

void print_endpoints(const Object& o, json::array& cells) {
    std::string out;
    const json::array* subsets = json::get_array(o.doc(), {"subsets"});
    for (std::size_t i = 0; subsets != nullptr && i < subsets->size(); ++i) {
        const json::array* addresses = json::get_array((*subsets)[i], {"addresses"});
        const json::array* ports = json::get_array((*subsets)[i], {"ports"});
        for (std::size_t a = 0; addresses != nullptr && a < addresses->size(); ++a) {
            for (std::size_t p = 0; ports != nullptr && p < ports->size(); ++p) {
                if (!out.empty()) out += ',';
                out += json::get_string((*addresses)[a], {"ip"});
                out += ':' + std::to_string(json::get_int((*ports)[p], {"port"}).value_or(0));
            }
        }
    }
    cells.emplace_back(o.name());
    cells.emplace_back(out.empty() ? std::string(kNone) : out);
    cells.emplace_back(age(o));
}

void print_config_map(const Object& o, json::array& cells) {
    cells.emplace_back(o.name());
    cells.emplace_back(std::to_string(entries(o, "data") + entries(o, "binaryData")));
    cells.emplace_back(age(o));
}

void print_secret(const Object& o, json::array& cells) {
    cells.emplace_back(o.name());
    cells.emplace_back(text(o, {"type"}));
    cells.emplace_back(entries(o, "data"));
    cells.emplace_back(age(o));
}

void print_service_account(const Object& o, json::array& cells) {
    const json::array* secrets = json::get_array(o.doc(), {"secrets"});
    cells.emplace_back(o.name());
    cells.emplace_back(secrets == nullptr ? std::size_t{0} : secrets->size());
    cells.emplace_back(age(o));
}

void print_lease(const Object& o, json::array& cells) {
    cells.emplace_back(o.name());
    cells.emplace_back(text(o, {"spec", "holderIdentity"}));
    cells.emplace_back(age(o));
}

void print_priority_class(const Object& o, json::array& cells) {
    cells.emplace_back(o.name());
    cells.emplace_back(json::get_int(o.doc(), {"value"}).value_or(0));
    cells.emplace_back(json::get_bool(o.doc(), {"globalDefault"}));
    cells.emplace_back(age(o));
}

}  // namespace egpu::testing
