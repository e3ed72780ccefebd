#include "testing/apiserver/rest.h"

#include <algorithm>
#include <charconv>

#include "base/base64.h"

namespace egpu::testing {
namespace {

constexpr std::size_t kChunk = 4096;  // objects looked at under one hold of the store's lock

std::optional<std::int64_t> to_number(std::string_view text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
    return number;
}

Outcome<json::value> parse_body(const RestRequest& request) {
    const std::string_view type = request.content_type.substr(0, request.content_type.find(';'));
    if (!type.empty() && type != "application/json" && !type.ends_with("+json"))
        return status::unsupported_media_type(
            "the body of the request was in an unknown format (" + std::string(type) +
            ") - this server reads application/json only; with kubectl, apply -f a file instead"
        );
    auto parsed = json::parse(request.body);
    if (!parsed) return status::bad_request("the body is " + parsed.error().message);
    return std::move(parsed).value();
}

bool is_dry_run(const RestRequest& request) {
    return !request.query->get("dryRun").empty();
}

Form form_of(const RestRequest& request) {
    return Form::from_accept(request.accept, request.query->get("includeObject"));
}

RestAnswer object_answer(int code, const ObjectPtr& object, const RestRequest& request) {
    RestAnswer answer;
    answer.status = code;
    answer.body = render_object(*object, form_of(request));
    return answer;
}

RestAnswer success(int code) {
    RestAnswer answer;
    answer.status = code;
    answer.body = success_status("", nullptr, "", code);
    return answer;
}

std::string make_token(std::uint64_t revision, std::string_view key) {
    return base64_encode("1:" + std::to_string(revision) + ":" + std::string(key));
}

struct Token {
    std::uint64_t revision = 0;
    std::string key;
};

std::optional<Token> read_token(std::string_view text) {
    const auto decoded = base64_decode(text);
    if (!decoded || !decoded->starts_with("1:")) return std::nullopt;
    const std::size_t colon = decoded->find(':', 2);
    if (colon == std::string::npos) return std::nullopt;
    const auto revision = to_number(std::string_view(*decoded).substr(2, colon - 2));
    if (!revision || *revision == 0) return std::nullopt;
    return Token{static_cast<std::uint64_t>(*revision), decoded->substr(colon + 1)};
}

Outcome<DeleteOptions> delete_options(const RestRequest& request) {
    DeleteOptions options;
    if (!request.body.empty()) {
        auto body = parse_body(request);
        if (!body) return body.failure();
        auto parsed = DeleteOptions::parse(*body);
        if (!parsed) return parsed.failure();
        options = std::move(*parsed);
    }
    if (const auto grace = request.query->get("gracePeriodSeconds"); !grace.empty()) {
        const auto seconds = to_number(grace);
        if (!seconds)
            return status::bad_request("gracePeriodSeconds is no number: " + std::string(grace));
        options.grace_seconds = *seconds;
    }
    if (is_dry_run(request)) options.dry_run = true;
    return options;
}

}  // namespace

RestAnswer RestAnswer::failure(const ApiStatus& status) {
    RestAnswer answer;
    answer.status = status.code;
    answer.body = status.to_json();
    answer.retry_after_s = status.retry_after_s;
    return answer;
}

Rest::Rest(Api& api, ObjectStore& store, LogSource logs)
    : api_(api), store_(store), logs_(std::move(logs)) {}

RestAnswer Rest::serve(const Target& target, const RestRequest& request, ReadResult* read) {
    const bool collection = target.name.empty();
    if (target.subresource == "log") {
        return request.method == "GET" ? serve_log(target, request)
                                       : RestAnswer::failure(status::method_not_allowed());
    }
    if (request.method == "GET")
        return collection ? serve_list(target, request, read) : serve_get(target, request, read);
    if (request.method == "POST") return serve_post(target, request);
    if (request.method == "PUT" && !collection) return serve_put(target, request);
    if (request.method == "PATCH" && !collection) return serve_patch(target, request);
    if (request.method == "DELETE" && target.subresource.empty())
        return collection ? serve_delete_collection(target, request)
                          : serve_delete(target, request);
    return RestAnswer::failure(status::method_not_allowed());
}

RestAnswer Rest::serve_get(const Target& target, const RestRequest& request, ReadResult* read) {
    if (!target.subresource.empty() && target.subresource != "status")
        return RestAnswer::failure(status::method_not_allowed());
    auto found = api_.get(*target.resource, target.name_space, target.name);
    if (!found) return RestAnswer::failure(found.failure());
    if (read != nullptr && form_of(request).kind == Form::Kind::kPlain) read->object = *found;
    return object_answer(200, *found, request);
}

Outcome<Selection> Rest::parse_selection(const Target& target, const http::Query& query) const {
    Selection selection;
    auto labels = LabelSelector::parse(query.get("labelSelector"));
    if (!labels) return labels.failure();
    selection.labels = std::move(*labels);
    auto fields = FieldSelector::parse(*target.resource, query.get("fieldSelector"));
    if (!fields) return fields.failure();
    selection.fields = std::move(*fields);
    selection.name_space = target.name_space;
    selection.name = target.name;
    return selection;
}

Outcome<ListResult> Rest::list(
    const Resource& resource,
    const Selection& selection,
    std::size_t limit,
    std::string_view continue_token,
    std::uint64_t exact_revision
) const {
    Token at{exact_revision, ""};
    if (!continue_token.empty()) {
        auto token = read_token(continue_token);
        if (!token)
            return status::bad_request("continue key is not valid: it was not made by this server");
        at = std::move(*token);
    }
    const std::string prefix =
        selection.name_space.empty() ? "" : object_key(selection.name_space, "");
    ListResult result;
    for (bool more = true; more;) {
        const auto page = store_.list(resource, prefix, at.key, at.revision, kChunk);
        if (page.expired && continue_token.empty() && exact_revision == 0) {
            at = Token{};  // written over while it was read: once more from the start
            result.items.clear();
            continue;
        }
        if (page.expired) {
            return status::expired(
                continue_token.empty()
                    ? "The resourceVersion for the provided list is too old."
                    : "The provided continue parameter is too old to display a consistent list "
                      "result. You can start a new list without the continue parameter."
            );
        }
        at.revision = result.revision = page.revision;
        more = page.more;
        const auto key_of = [](const Object& object) {
            return object_key(object.name_space(), object.name());
        };
        for (std::size_t i = 0; i < page.items.size(); ++i) {
            const ObjectPtr& object = page.items[i];
            if (!selection.matches(*object)) continue;
            result.items.push_back(object);
            if (limit == 0 || result.items.size() < limit) continue;
            if (i + 1 < page.items.size() || page.more)
                result.continue_token = make_token(at.revision, key_of(*object));
            return result;
        }
        if (more) at.key = key_of(*page.items.back());
    }
    return result;
}

RestAnswer Rest::serve_list(const Target& target, const RestRequest& request, ReadResult* read) {
    const auto& query = *request.query;
    auto selection = parse_selection(target, query);
    if (!selection) return RestAnswer::failure(selection.failure());
    std::size_t limit = 0;
    if (const auto text = query.get("limit"); !text.empty()) {
        const auto number = to_number(text);
        if (!number)
            return RestAnswer::failure(
                status::bad_request("limit is no number: " + std::string(text))
            );
        limit = static_cast<std::size_t>(*number);
    }
    const auto token = query.get("continue");
    std::uint64_t exact = 0;
    if (const auto version = query.get("resourceVersion"); !version.empty() && token.empty()) {
        const auto number = to_number(version);
        if (!number)
            return RestAnswer::failure(
                status::bad_request("invalid resource version: " + std::string(version))
            );
        const auto wanted = static_cast<std::uint64_t>(*number);
        const auto current = store_.revision();
        if (wanted > current)
            return RestAnswer::failure(status::too_large_version(wanted, current));
        if (query.get("resourceVersionMatch") == "Exact") exact = wanted;
    }
    auto found = list(*target.resource, *selection, limit, token, exact);
    if (!found) return RestAnswer::failure(found.failure());
    const Form form = form_of(request);
    RestAnswer answer;
    answer.body =
        render_list(*target.resource, found->items, {found->revision, found->continue_token}, form);
    if (read != nullptr && form.kind == Form::Kind::kPlain) read->list = std::move(*found);
    return answer;
}

RestAnswer Rest::serve_post(const Target& target, const RestRequest& request) {
    auto body = parse_body(request);
    if (!body) return RestAnswer::failure(body.failure());
    if (target.subresource == "binding") {
        const std::string pod = target.name.empty()
                                    ? std::string(json::get_string(*body, {"metadata", "name"}))
                                    : target.name;
        auto failed = api_.bind(target.name_space, pod, std::move(*body), is_dry_run(request));
        return failed ? RestAnswer::failure(*failed) : success(201);
    }
    if (target.subresource == "eviction") {
        auto failed = api_.evict(target.name_space, target.name, *body);
        return failed ? RestAnswer::failure(*failed) : success(201);
    }
    if (!target.name.empty()) return RestAnswer::failure(status::method_not_allowed());
    std::string name_space = target.name_space;
    if (target.resource->namespaced && name_space.empty())
        return RestAnswer::failure(
            status::bad_request("an empty namespace may not be set during creation")
        );
    auto made = api_.create(*target.resource, name_space, std::move(*body), is_dry_run(request));
    return made ? object_answer(201, *made, request) : RestAnswer::failure(made.failure());
}

RestAnswer Rest::serve_put(const Target& target, const RestRequest& request) {
    if (!target.subresource.empty() && target.subresource != "status")
        return RestAnswer::failure(status::method_not_allowed());
    auto body = parse_body(request);
    if (!body) return RestAnswer::failure(body.failure());
    auto updated = api_.update(
        *target.resource,
        target.name_space,
        target.name,
        std::move(*body),
        target.subresource,
        is_dry_run(request)
    );
    return updated ? object_answer(200, *updated, request) : RestAnswer::failure(updated.failure());
}

RestAnswer Rest::serve_patch(const Target& target, const RestRequest& request) {
    if (!target.subresource.empty() && target.subresource != "status")
        return RestAnswer::failure(status::method_not_allowed());
    const std::string_view type = request.content_type.substr(0, request.content_type.find(';'));
    PatchFormat format = PatchFormat::kMerge;
    if (type == "application/json-patch+json") {
        format = PatchFormat::kJson;
    } else if (type == "application/strategic-merge-patch+json") {
        format = PatchFormat::kStrategic;
    } else if (type != "application/merge-patch+json") {
        return RestAnswer::failure(status::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, "
            "application/strategic-merge-patch+json (this server does no server-side apply)"
        ));
    }
    auto body = parse_body(request);
    if (!body) return RestAnswer::failure(body.failure());
    auto patched = api_.patch(
        *target.resource,
        target.name_space,
        target.name,
        format,
        *body,
        target.subresource,
        is_dry_run(request)
    );
    return patched ? object_answer(200, *patched, request) : RestAnswer::failure(patched.failure());
}

RestAnswer Rest::serve_delete(const Target& target, const RestRequest& request) {
    auto options = delete_options(request);
    if (!options) return RestAnswer::failure(options.failure());
    auto removed = api_.remove(*target.resource, target.name_space, target.name, *options);
    if (!removed) return RestAnswer::failure(removed.failure());
    const bool as_object = !removed->gone || target.resource == &pods();
    if (as_object) return object_answer(200, removed->object, request);
    RestAnswer answer;
    answer.body = success_status(target.name, target.resource, removed->object->uid());
    return answer;
}

RestAnswer Rest::serve_delete_collection(const Target& target, const RestRequest& request) {
    if (target.resource->namespaced && target.name_space.empty())
        return RestAnswer::failure(status::method_not_allowed());
    auto options = delete_options(request);
    if (!options) return RestAnswer::failure(options.failure());
    auto selection = parse_selection(target, *request.query);
    if (!selection) return RestAnswer::failure(selection.failure());
    auto found = list(*target.resource, *selection, 0, "");
    if (!found) return RestAnswer::failure(found.failure());
    for (const auto& object : found->items) {
        auto removed =
            api_.remove(*target.resource, object->name_space(), object->name(), *options);
        if (!removed && removed.failure().code != 404)
            return RestAnswer::failure(removed.failure());
    }
    RestAnswer answer;
    answer.body =
        render_list(*target.resource, found->items, {found->revision, ""}, form_of(request));
    return answer;
}

RestAnswer Rest::serve_log(const Target& target, const RestRequest& request) {
    auto found = api_.get(*target.resource, target.name_space, target.name);
    if (!found) return RestAnswer::failure(found.failure());
    const json::value& pod = (*found)->doc();
    std::string container(request.query->get("container"));
    if (container.empty()) {
        const json::array* all = json::get_array(pod, {"spec", "containers"});
        if (all != nullptr && !all->empty()) container = json::get_string(all->front(), {"name"});
    }
    auto text = logs_(target.name_space, target.name, container);
    if (!text && json::get_string(pod, {"status", "phase"}) == "Pending")
        return RestAnswer::failure(status::bad_request(
            "container \"" + container + "\" in pod \"" + target.name +
            "\" is waiting to start: ContainerCreating"
        ));
    std::string out = text.value_or("");
    if (const auto tail = to_number(request.query->get("tailLines")); tail && !out.empty()) {
        std::size_t from = out.size() - (out.back() == '\n' ? 1 : 0);
        for (std::int64_t lines = *tail; lines > 0 && from != std::string::npos && from > 0;
             --lines)
            from = out.rfind('\n', from - 1);
        if (*tail == 0) {
            out.clear();
        } else if (from != std::string::npos && from > 0) {
            out.erase(0, from + 1);
        }
    }
    RestAnswer answer;
    answer.content_type = "text/plain; charset=utf-8";
    answer.body = std::move(out);
    return answer;
}

}  // namespace egpu::testing
