#include "testing/apiserver/render.h"

namespace egpu::testing {
namespace {

std::string_view trim(std::string_view s) {
    while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
    while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
    return s;
}

std::string_view parameter(std::string_view media, std::string_view name) {
    for (std::size_t from = media.find(';'); from != std::string_view::npos;) {
        const std::size_t next = media.find(';', from + 1);
        const std::string_view part = trim(media.substr(
            from + 1, next == std::string_view::npos ? std::string_view::npos : next - from - 1
        ));
        const std::size_t equals = part.find('=');
        if (equals != std::string_view::npos && part.substr(0, equals) == name)
            return part.substr(equals + 1);
        from = next;
    }
    return {};
}

void append_metadata_object(std::string& out, const Object& object, std::string_view version) {
    out += R"({"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/)";
    out += version;
    out += R"(","metadata":)";
    out += json::to_text(*json::find(object.doc(), {"metadata"}));
    out += '}';
}

void append_columns(std::string& out, const Resource& resource) {
    out += R"("columnDefinitions":[)";
    bool first = true;
    for (const auto& column : resource.columns) {
        if (!first) out += ',';
        first = false;
        out += R"({"name":)";
        json::append_quoted(out, column.name);
        out += R"(,"type":)";
        json::append_quoted(out, column.type);
        out += R"(,"format":)";
        json::append_quoted(out, column.format);
        out += R"(,"description":"","priority":)" + std::to_string(column.priority) + "}";
    }
    out += ']';
}

void append_row(std::string& out, const Object& object, const Form& form) {
    json::array cells;
    object.resource().print(object, cells);
    out += R"({"cells":)";
    out += json::to_text(cells);
    if (form.include == Form::Include::kObject) {
        out += R"(,"object":)";
        object.append_full_text(out);
    } else if (form.include == Form::Include::kMetadata) {
        out += R"(,"object":)";
        append_metadata_object(out, object, form.version);
    }
    out += '}';
}

void append_list_metadata(std::string& out, const ListEnvelope& envelope) {
    out += R"("metadata":{"resourceVersion":")" + std::to_string(envelope.revision) + "\"";
    if (!envelope.continue_token.empty()) {
        out += R"(,"continue":)";
        json::append_quoted(out, envelope.continue_token);
    }
    out += '}';
}

void append_table_head(std::string& out, const Form& form) {
    out += R"({"kind":"Table","apiVersion":"meta.k8s.io/)";
    out += form.version;
    out += "\",";
}

}  // namespace

Form Form::from_accept(std::string_view accept, std::string_view include_object) {
    Form form;
    if (include_object == "Object") form.include = Include::kObject;
    if (include_object == "None") form.include = Include::kNone;
    while (!accept.empty()) {
        const std::size_t comma = accept.find(',');
        const std::string_view media = trim(accept.substr(0, comma));
        accept = comma == std::string_view::npos ? std::string_view() : accept.substr(comma + 1);
        const std::string_view type = trim(media.substr(0, media.find(';')));
        if (type != "application/json" && type != "application/*" && type != "*/*") continue;
        const std::string_view as = parameter(media, "as");
        const std::string_view version = parameter(media, "v");
        if (as.empty()) return form;
        if (parameter(media, "g") != "meta.k8s.io" || (version != "v1" && version != "v1beta1"))
            continue;
        form.version = version == "v1" ? "v1" : "v1beta1";
        if (as == "Table") {
            form.kind = Kind::kTable;
            return form;
        }
        if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") {
            form.kind = Kind::kMetadata;
            return form;
        }
    }
    form.version = "v1";
    return form;
}

std::string render_object(const Object& object, const Form& form) {
    std::string out;
    switch (form.kind) {
        case Form::Kind::kPlain:
            object.append_full_text(out);
            break;
        case Form::Kind::kMetadata:
            append_metadata_object(out, object, form.version);
            break;
        case Form::Kind::kTable:
            append_table_head(out, form);
            append_list_metadata(out, {object.revision(), ""});
            out += ',';
            if (form.headers) {
                append_columns(out, object.resource());
            } else {
                out += R"("columnDefinitions":[])";
            }
            out += R"(,"rows":[)";
            append_row(out, object, form);
            out += "]}";
    }
    return out;
}

std::string render_list(
    const Resource& resource,
    const std::vector<ObjectPtr>& items,
    const ListEnvelope& envelope,
    const Form& form
) {
    std::string out;
    if (form.kind == Form::Kind::kPlain) {
        std::size_t bytes = 256;
        for (const auto& item : items) bytes += item->text().size() + 1;
        out.reserve(bytes);
    }
    const bool table = form.kind == Form::Kind::kTable;
    if (table) {
        append_table_head(out, form);
    } else if (form.kind == Form::Kind::kMetadata) {
        out += R"({"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/)";
        out += form.version;
        out += "\",";
    } else {
        out += R"({"kind":")";
        out += resource.kind;
        out += R"(List","apiVersion":")" + resource.group_version() + "\",";
    }
    append_list_metadata(out, envelope);
    if (table) {
        out += ',';
        append_columns(out, resource);
    }
    out += table ? R"(,"rows":[)" : R"(,"items":[)";
    bool first = true;
    for (const auto& item : items) {
        if (!first) out += ',';
        first = false;
        switch (form.kind) {
            case Form::Kind::kPlain:
                out += item->text();
                break;
            case Form::Kind::kMetadata:
                append_metadata_object(out, *item, form.version);
                break;
            case Form::Kind::kTable:
                append_row(out, *item, form);
                break;
        }
    }
    out += "]}";
    return out;
}

std::string render_event(
    EventType type, const Object& object, const Form& form, std::uint64_t revision
) {
    static constexpr std::string_view kNames[] = {"ADDED", "MODIFIED", "DELETED"};
    std::string out = R"({"type":")";
    out += kNames[static_cast<std::size_t>(type)];
    out += R"(","object":)";
    if (revision != 0 && revision != object.revision()) {
        out += render_object(Object(object.resource(), object.doc(), revision), form);
    } else if (form.kind == Form::Kind::kPlain) {
        object.append_full_text(out);
    } else {
        out += render_object(object, form);
    }
    out += "}\n";
    return out;
}

std::string render_bookmark(
    const Resource& resource, std::uint64_t revision, const Form& form, bool initial_events_end
) {
    std::string metadata = R"({"resourceVersion":")" + std::to_string(revision) + "\"";
    if (initial_events_end) {
        metadata +=
            R"(,"annotations":{"k8s.io/initial-events-end":"true"},"creationTimestamp":null})";
    } else {
        metadata += R"(,"creationTimestamp":null})";
    }
    std::string out = R"({"type":"BOOKMARK","object":)";
    if (form.kind == Form::Kind::kTable) {
        append_table_head(out, form);
        append_list_metadata(out, {revision, ""});
        out +=
            R"(,"columnDefinitions":[],"rows":[{"cells":[],"object":{"kind":"PartialObjectMetadata",)";
        out += R"("apiVersion":"meta.k8s.io/)" + std::string(form.version) + R"(","metadata":)" +
               metadata + "}}]}";
    } else {
        out += R"({"kind":")";
        out += form.kind == Form::Kind::kPlain ? resource.kind : "PartialObjectMetadata";
        out += R"(","apiVersion":")";
        out += form.kind == Form::Kind::kPlain ? resource.group_version()
                                               : "meta.k8s.io/" + std::string(form.version);
        out += R"(","metadata":)" + metadata + "}";
    }
    out += "}\n";
    return out;
}

std::string render_error_event(std::string_view status_json) {
    return R"({"type":"ERROR","object":)" + std::string(status_json) + "}\n";
}

}  // namespace egpu::testing
