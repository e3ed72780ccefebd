#include "sim/extender_caller.h"

#include <algorithm>

namespace egpu::sim {

namespace {

std::map<std::string, std::string> text_map(const json::object* object) {
    std::map<std::string, std::string> out;
    if (object == nullptr) return out;
    for (const auto& [key, value] : *object) {
        if (value.is_string()) out[std::string(key)] = std::string_view(value.as_string());
    }
    return out;
}

bool lists_one_of(const json::value& container, const std::set<std::string>& resources) {
    for (const std::string_view kind : {"requests", "limits"}) {
        const auto* list = json::get_object(container, {"resources", kind});
        if (list == nullptr) continue;
        for (const auto& item : *list) {
            if (resources.contains(std::string(item.key()))) return true;
        }
    }
    return false;
}

}  // namespace

Result<std::unique_ptr<ExtenderCaller>> ExtenderCaller::open(ExtenderConfig config) {
    http::ClientOptions options;
    options.base_url = config.url_prefix;
    options.user_agent = "Go-http-client/1.1";
    options.max_idle = 2;
    options.max_idle_time = Seconds(90);
    options.connect_timeout = config.http_timeout;
    EG_TRY(auto client, http::Client::open(std::move(options)));
    return std::unique_ptr<ExtenderCaller>(new ExtenderCaller(std::move(config), std::move(client))
    );
}

bool ExtenderCaller::interested(const SchedPod& pod) const {
    if (config_.managed_resources.empty()) return true;
    for (const std::string_view kind : {"containers", "initContainers"}) {
        const auto* containers = json::get_array(*pod.object, {"spec", kind});
        if (containers == nullptr) continue;
        for (const json::value& container : *containers) {
            if (lists_one_of(container, config_.managed_resources)) return true;
        }
    }
    return false;
}

Result<json::value> ExtenderCaller::send(std::string_view verb, const json::value& body) const {
    http::Request request;
    request.method = "POST";
    request.target = "/" + std::string(verb);
    request.content_type = "application/json";
    request.headers.add("Accept-Encoding", "identity");
    request.body = json::to_text(body);
    EG_TRY(const auto answer, client_->call(request, MonoClock::now() + config_.http_timeout));
    if (answer.status != 200) {
        return Error{
            ErrorCode::kUnavailable,
            "failed " + std::string(verb) + " with extender at URL " + config_.url_prefix + "/" +
                std::string(verb) + ", code " + std::to_string(answer.status)};
    }
    return json::parse(answer.body);
}

json::value ExtenderCaller::arguments(const SchedPod& pod, const NodeList& nodes) const {
    json::value names = nullptr;
    json::value objects = nullptr;
    json::array list;
    for (const auto& node : nodes) {
        if (config_.node_cache_capable) {
            list.emplace_back(node->name);
        } else {
            list.push_back(*node->object);
        }
    }
    if (config_.node_cache_capable) {
        names = std::move(list);
    } else {
        objects = json::object{{"metadata", json::object{}}, {"items", std::move(list)}};
    }
    return {{"Pod", *pod.object}, {"Nodes", std::move(objects)}, {"NodeNames", std::move(names)}};
}

Result<FilterAnswer> ExtenderCaller::filter(const SchedPod& pod, const NodeList& nodes) const {
    EG_TRY(const json::value answer, send("filter", arguments(pod, nodes)));
    const std::string_view error = json::get_string(answer, {"Error"});
    if (!error.empty()) return Error{ErrorCode::kUnavailable, std::string(error)};
    FilterAnswer out;
    out.failed = text_map(json::get_object(answer, {"FailedNodes"}));
    out.unresolvable = text_map(json::get_object(answer, {"FailedAndUnresolvableNodes"}));
    const auto* names = json::get_array(answer, {"NodeNames"});
    const auto* items = json::get_array(answer, {"Nodes", "items"});
    if (config_.node_cache_capable && names != nullptr) {
        for (const json::value& name : *names) {
            if (name.is_string()) out.nodes.emplace_back(std::string_view(name.as_string()));
        }
    } else if (items != nullptr) {
        for (const json::value& node : *items) {
            out.nodes.emplace_back(json::get_string(node, {"metadata", "name"}));
        }
    }
    for (const std::string& name : out.nodes) {
        const bool sent = std::any_of(nodes.begin(), nodes.end(), [&](const auto& node) {
            return node->name == name;
        });
        if (!sent) {
            return Error{
                ErrorCode::kInvalid,
                "extender \"" + config_.url_prefix + "\" claims a filtered node \"" + name +
                    "\" which is not found in the input node list"};
        }
    }
    return out;
}

Result<std::map<std::string, std::int64_t>> ExtenderCaller::prioritize(
    const SchedPod& pod, const NodeList& nodes
) const {
    EG_TRY(const json::value answer, send("priorities", arguments(pod, nodes)));
    if (!answer.is_array()) {
        return Error{ErrorCode::kInvalid, "the extender's priorities are not a JSON array"};
    }
    std::map<std::string, std::int64_t> out;
    for (const json::value& item : answer.as_array()) {
        const std::int64_t score = json::get_int(item, {"Score"}).value_or(0);
        out[std::string(json::get_string(item, {"Host"}))] = score * config_.weight * 10;
    }
    return out;
}

Status ExtenderCaller::bind(const SchedPod& pod, const std::string& node) const {
    const json::value body{
        {"PodName", pod.name}, {"PodNamespace", pod.ns}, {"PodUID", pod.uid}, {"Node", node}};
    EG_TRY(const json::value answer, send("bind", body));
    const std::string_view error = json::get_string(answer, {"Error"});
    if (!error.empty()) return Error{ErrorCode::kUnavailable, std::string(error)};
    return ok_status();
}

Result<std::map<std::string, std::vector<std::string>>> ExtenderCaller::preempt(
    const SchedPod& pod, const Victims& victims
) const {
    json::object by_node;
    for (const auto& [node, pods] : victims) {
        json::array list;
        for (const auto& victim : pods) {
            if (config_.node_cache_capable) {
                list.push_back(json::object{{"UID", victim->uid}});
            } else {
                list.push_back(*victim->object);
            }
        }
        by_node[node] = {{"Pods", std::move(list)}, {"NumPDBViolations", 0}};
    }
    json::object body{
        {"Pod", *pod.object}, {"NodeNameToVictims", nullptr}, {"NodeNameToMetaVictims", nullptr}};
    body[config_.node_cache_capable ? "NodeNameToMetaVictims" : "NodeNameToVictims"] =
        std::move(by_node);
    EG_TRY(const json::value answer, send("preempt", json::value(std::move(body))));
    std::map<std::string, std::vector<std::string>> out;
    const auto* nodes = json::get_object(answer, {"NodeNameToMetaVictims"});
    if (nodes == nullptr) return out;
    for (const auto& [node, value] : *nodes) {
        auto& uids = out[std::string(node)];
        if (const auto* pods = json::get_array(value, {"Pods"})) {
            for (const json::value& victim : *pods) {
                uids.emplace_back(json::get_string(victim, {"UID"}));
            }
        }
    }
    return out;
}

}  // namespace egpu::sim
