#include <array>
#include <optional>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/monotonic_resource.hpp>
#include <boost/json/value_stack.hpp>

#include "base/json.h"
#include "http/message.h"
#include "k8s/codec.h"
#include "k8s/extender.h"
#include "k8s/node_splitter.h"

namespace egpu::k8s {

namespace {

using http::equal_without_case;
using Code = boost::json::error_code;

constexpr std::size_t kMaxDepth = 64;
constexpr std::size_t kMaxName = 253;         // of a node, by the API server's validation
constexpr std::size_t kMaxPod = 4U << 20;     // text of one pod; the API server accepts 3 MiB
constexpr std::size_t kMaxVictims = 100'000;  // pods in one preemption

// Where the parser is, outside of captured and skipped values.
enum class At {
    kTop,
    kNodeList,
    kNodeItems,
    kNode,
    kNodeMeta,
    kNames,
    kVictimMap,
    kVictims,
    kVictimPods,
    kMetaPod
};

enum class Field {
    kUnknown,
    kPod,
    kNodes,
    kNodeNames,
    kVictims,
    kMetaVictims,
    kPodName,
    kPodNamespace,
    kPodUid,
    kNode
};

struct FieldName {
    std::string_view name;
    Field field;
};
constexpr std::array<FieldName, 9> kFields{{
    {"Pod", Field::kPod},
    {"Nodes", Field::kNodes},
    {"NodeNames", Field::kNodeNames},
    {"NodeNameToVictims", Field::kVictims},
    {"NodeNameToMetaVictims", Field::kMetaVictims},
    {"PodName", Field::kPodName},
    {"PodNamespace", Field::kPodNamespace},
    {"PodUID", Field::kPodUid},
    {"Node", Field::kNode},
}};

// Fields of a pod that can be large and that nothing here reads.
bool not_wanted(std::string_view key) {
    return key == "managedFields" || key == "volumes" || key == "volumeMounts" || key == "env" ||
           key == "tolerations" || key == "affinity" || key == "containerStatuses" ||
           key == "initContainerStatuses" || key == "conditions";
}

}  // namespace

// The handler of boost::json::basic_parser. Everything is in one of three states: skipped (only the
// nesting is counted), captured (a pod, built as a DOM without what is not wanted, then turned into
// k8s::Pod), or structure (the path above).
struct ExtenderReader::Impl {
    explicit Impl(ExtenderLimits l) : limits(l), parser(options(), this) {}

    static boost::json::parse_options options() {
        boost::json::parse_options o;
        o.max_depth = kMaxDepth;
        return o;
    }

    // The parser makes its own handler; it only points back here.
    struct Forward {
        static constexpr std::size_t max_object_size = std::size_t(-1);
        static constexpr std::size_t max_array_size = std::size_t(-1);
        static constexpr std::size_t max_key_size = std::size_t(-1);
        static constexpr std::size_t max_string_size = std::size_t(-1);

        explicit Forward(Impl* i) : impl(i) {}
        Impl* impl;

        bool on_document_begin(Code&) { return true; }
        bool on_document_end(Code&) { return true; }
        bool on_object_begin(Code& e) { return impl->open(true) || fail(e); }
        bool on_array_begin(Code& e) { return impl->open(false) || fail(e); }
        bool on_object_end(std::size_t n, Code& e) { return impl->close(n, true) || fail(e); }
        bool on_array_end(std::size_t n, Code& e) { return impl->close(n, false) || fail(e); }
        bool on_key_part(boost::json::string_view s, std::size_t, Code& e) {
            return impl->key_part({s.data(), s.size()}) || fail(e);
        }
        bool on_key(boost::json::string_view s, std::size_t, Code& e) {
            return impl->key({s.data(), s.size()}) || fail(e);
        }
        bool on_string_part(boost::json::string_view s, std::size_t, Code& e) {
            return impl->string_part({s.data(), s.size()}) || fail(e);
        }
        bool on_string(boost::json::string_view s, std::size_t, Code& e) {
            return impl->string({s.data(), s.size()}) || fail(e);
        }
        bool on_number_part(boost::json::string_view, Code&) { return true; }
        bool on_int64(std::int64_t n, boost::json::string_view, Code& e) {
            return impl->number(n) || fail(e);
        }
        bool on_uint64(std::uint64_t n, boost::json::string_view, Code& e) {
            return impl->number(n) || fail(e);
        }
        bool on_double(double n, boost::json::string_view, Code& e) {
            return impl->number(n) || fail(e);
        }
        bool on_bool(bool b, Code& e) { return impl->other(b ? 1 : 0) || fail(e); }
        bool on_null(Code& e) { return impl->other(-1) || fail(e); }
        bool on_comment_part(boost::json::string_view, Code&) { return true; }
        bool on_comment(boost::json::string_view, Code&) { return true; }
        static bool fail(Code& e) {
            e = boost::json::error::exception;  // ours is in impl->error
            return false;
        }
    };

    bool refuse(ErrorCode code, std::string message) {
        error = Error{code, std::move(message)};
        return false;
    }
    bool wrong_type(std::string_view what) {
        return refuse(ErrorCode::kInvalid, std::string(what) + " has the wrong JSON type");
    }

    // --- containers

    bool open(bool object) {
        if (skipping > 0 || skip_next) {
            skip_next = false;
            ++skipping;
            return true;
        }
        if (capturing > 0) {
            ++capturing;
            return true;
        }
        if (path.empty()) {
            if (!object) return wrong_type("the body");
            path.push_back(At::kTop);
            return true;
        }
        switch (path.back()) {
            case At::kTop:
                return open_field(object);
            case At::kNodeList:
                return text == "items" && !object ? enter(At::kNodeItems) : skip();
            case At::kNodeItems:
                node_name.clear();
                return object ? enter(At::kNode) : wrong_type("an entry of Nodes.items");
            case At::kNode:
                return text == "metadata" && object ? enter(At::kNodeMeta) : skip();
            case At::kNames:
                return wrong_type("an entry of NodeNames");
            case At::kVictimMap:
                if (!object) return wrong_type("the victims of a node");
                return add_victims() && enter(At::kVictims);
            case At::kVictims:
                return equal_without_case(text, "Pods") && !object ? enter(At::kVictimPods)
                                                                   : skip();
            case At::kVictimPods:
                if (!object) return wrong_type("a victim");
                return full_victims ? capture() : enter(At::kMetaPod);
            case At::kNodeMeta:
            case At::kMetaPod:
                return skip();
        }
        return skip();
    }

    bool open_field(bool object) {
        switch (field) {
            case Field::kPod:
                return object ? capture() : wrong_type("Pod");
            case Field::kNodes:
                if (!object) return wrong_type("Nodes");
                args.nodes.clear();
                saw_nodes = true;
                return enter(At::kNodeList);
            case Field::kNodeNames:
                if (object) return wrong_type("NodeNames");
                args.nodes.clear();
                saw_names = true;
                return enter(At::kNames);
            case Field::kVictims:
            case Field::kMetaVictims:
                if (!object) return wrong_type("NodeNameToVictims");
                full_victims = field == Field::kVictims;
                saw_victims = true;
                preemption.nodes.clear();
                return enter(At::kVictimMap);
            case Field::kUnknown:
                return skip();
            default:
                return wrong_type("a field of ExtenderBindingArgs");
        }
    }

    bool enter(At at) {
        path.push_back(at);
        text.clear();
        return true;
    }
    bool skip() {
        skipping = 1;
        return true;
    }
    bool capture() {
        capturing = 1;
        captured_bytes = 0;
        stack.reset();
        // A fresh one each time: release() keeps doubling its next block, to bad_alloc in the end.
        memory.emplace(16U << 10);
        stack.reset(&*memory);
        return true;
    }

    bool close(std::size_t n, bool object) {
        if (skipping > 0) {
            if (--skipping == 0 && capturing > 0) stack.push_null();
            return true;
        }
        if (capturing > 0) {
            if (object) {
                stack.push_object(n);
            } else {
                stack.push_array(n);
            }
            return --capturing > 0 || finish_pod();
        }
        const At left = path.back();
        path.pop_back();
        if (left == At::kNode) return add_node(node_name, "an entry of Nodes.items has no name");
        return true;
    }

    bool finish_pod() {
        const json::value object = stack.release();
        auto pod = pod_from_json(object);
        if (!pod) return refuse(ErrorCode::kInvalid, pod.error().message);
        if (path.back() == At::kTop) {
            args.pod = std::move(*pod);
            return true;
        }
        ExtenderVictims& victims = preemption.nodes.back();
        victims.uids.push_back(pod->meta.uid);
        victims.pods.push_back(std::move(*pod));
        return count_victim();
    }

    bool count_victim() {
        if (++victim_count <= kMaxVictims) return true;
        return refuse(ErrorCode::kExhausted, "too many victims");
    }

    bool add_victims() {
        if (preemption.nodes.size() >= limits.max_nodes) return too_many_nodes();
        preemption.nodes.emplace_back().node = text;
        return true;
    }
    bool too_many_nodes() {
        return refuse(
            ErrorCode::kExhausted, "more than " + std::to_string(limits.max_nodes) + " nodes"
        );
    }
    bool add_node(std::string_view name, const char* when_empty) {
        if (name.empty()) return refuse(ErrorCode::kInvalid, when_empty);
        if (name.size() > kMaxName) {
            return refuse(ErrorCode::kInvalid, "a node's name is longer than 253 characters");
        }
        if (args.nodes.size() >= limits.max_nodes) return too_many_nodes();
        args.nodes.add(name);
        return true;
    }

    // --- keys and scalars; `text` collects the parts of a string or key

    bool collect(std::string_view part, std::size_t limit) {
        if (!part_open) text.clear();
        part_open = true;
        if (text.size() + part.size() > limit) {
            return refuse(ErrorCode::kInvalid, "a name or key is too long");
        }
        text += part;
        return true;
    }
    bool count_captured(std::size_t n) {
        captured_bytes += n;
        return captured_bytes <= kMaxPod || refuse(ErrorCode::kExhausted, "a pod is too large");
    }

    bool key_part(std::string_view part) {
        if (skipping > 0) return true;
        if (capturing > 0) stack.push_chars({part.data(), part.size()});
        if (capturing > 0 && !count_captured(part.size())) return false;
        // A long key of a captured object is in the DOM already; here only its beginning matters.
        if (capturing > 0 && part_open && text.size() > kMaxName) return true;
        return collect(part, capturing > 0 ? kMaxPod : 4096);
    }

    bool key(std::string_view last) {
        if (skipping > 0) return true;
        if (!collect_last(last)) return false;
        if (capturing > 0) {
            stack.push_key({last.data(), last.size()});
            skip_next = not_wanted(text);
            return count_captured(last.size() + 16);
        }
        if (path.back() == At::kTop) {
            field = Field::kUnknown;
            for (const FieldName& known : kFields) {
                if (equal_without_case(text, known.name)) field = known.field;
            }
        }
        return true;
    }

    bool collect_last(std::string_view last) {
        const bool good = collect(last, kMaxPod);
        part_open = false;
        return good;
    }

    bool string_part(std::string_view part) {
        if (skipping > 0 || skip_next) return true;
        if (capturing > 0) {
            stack.push_chars({part.data(), part.size()});
            return count_captured(part.size());
        }
        if (path.empty()) return wrong_type("the body");
        return wants_string() ? collect_value(part) : true;
    }

    bool wants_string() const {
        switch (path.back()) {
            case At::kTop:
                return field != Field::kUnknown;
            case At::kNodeMeta:
                return text == "name" || value_open;
            case At::kNames:
                return true;
            case At::kMetaPod:
                return equal_without_case(text, "UID") || value_open;
            default:
                return false;
        }
    }
    bool collect_value(std::string_view part) {
        if (!value_open) value.clear();
        value_open = true;
        if (value.size() + part.size() > 4096) {
            return refuse(ErrorCode::kInvalid, "a name or UID is too long");
        }
        value += part;
        return true;
    }

    bool string(std::string_view last) {
        if (skipping > 0) return true;
        if (capturing > 0) {
            if (skip_next) {
                skip_next = false;
                stack.push_null();
                return true;
            }
            stack.push_string({last.data(), last.size()});
            return count_captured(last.size() + 16);
        }
        if (path.empty()) return wrong_type("the body");
        if (!wants_string()) return scalar_elsewhere();
        if (path.back() == At::kNames && !value_open) {
            return add_node(last, "NodeNames has an empty name");
        }
        if (!collect_value(last)) return false;
        value_open = false;
        switch (path.back()) {
            case At::kNames:
                return add_node(value, "NodeNames has an empty name");
            case At::kNodeMeta:
                node_name = value;
                return true;
            case At::kMetaPod:
                preemption.nodes.back().uids.push_back(value);
                return count_victim();
            default:
                return binding_field();
        }
    }

    bool binding_field() {
        switch (field) {
            case Field::kPodName:
                binding.pod_name = value;
                return true;
            case Field::kPodNamespace:
                binding.pod_namespace = value;
                return true;
            case Field::kPodUid:
                binding.pod_uid = value;
                return true;
            case Field::kNode:
                binding.node = value;
                return true;
            default:
                return wrong_type("a field of the body");
        }
    }

    // A scalar where structure or another type is expected.
    bool scalar_elsewhere() {
        switch (path.back()) {
            case At::kNames:
                return wrong_type("an entry of NodeNames");
            case At::kNodeItems:
                return wrong_type("an entry of Nodes.items");
            case At::kVictimPods:
                return wrong_type("a victim");
            case At::kVictimMap:
                return wrong_type("the victims of a node");
            default:
                return true;
        }
    }

    template <class Number>
    bool number(Number n) {
        if (skipping > 0) return true;
        if (capturing > 0) {
            if (skip_next) {
                stack.push_null();
            } else if constexpr (std::is_same_v<Number, std::int64_t>) {
                stack.push_int64(n);
            } else if constexpr (std::is_same_v<Number, std::uint64_t>) {
                stack.push_uint64(n);
            } else {
                stack.push_double(n);
            }
            skip_next = false;
            return count_captured(32);
        }
        if (path.empty()) return wrong_type("the body");
        if constexpr (std::is_same_v<Number, std::int64_t>) {
            if (path.back() == At::kVictims && equal_without_case(text, "NumPDBViolations")) {
                preemption.nodes.back().pdb_violations = n;
                return true;
            }
        }
        if (path.back() == At::kTop && field != Field::kUnknown) {
            return wrong_type("a field of the body");
        }
        return scalar_elsewhere();
    }

    // 0, 1: false, true; -1: null.
    bool other(int which) {
        if (skipping > 0) return true;
        if (capturing > 0) {
            if (which < 0 || skip_next) {
                stack.push_null();
            } else {
                stack.push_bool(which == 1);
            }
            skip_next = false;
            return count_captured(16);
        }
        if (path.empty()) return wrong_type("the body");
        if (which >= 0 && path.back() == At::kTop && field != Field::kUnknown) {
            return wrong_type("a field of the body");
        }
        if (which < 0 && path.back() == At::kVictimMap) return add_victims();
        return scalar_elsewhere();
    }

    ExtenderLimits limits;
    ExtenderArgs args;
    ExtenderBindingArgs binding;
    ExtenderPreemptionArgs preemption;
    bool saw_nodes = false;
    bool saw_names = false;
    bool saw_victims = false;

    std::vector<At> path;
    Field field = Field::kUnknown;
    std::string text;   // the current key
    std::string value;  // the current string
    std::string node_name;
    bool part_open = false;
    bool value_open = false;
    bool full_victims = false;
    std::size_t skipping = 0;   // open containers of a skipped value
    std::size_t capturing = 0;  // open containers of a captured value
    bool skip_next = false;     // within a capture: the next value is not wanted
    std::size_t captured_bytes = 0;
    std::size_t victim_count = 0;
    std::optional<boost::json::monotonic_resource> memory;  // of the pod being captured
    boost::json::value_stack stack;

    std::optional<Error> error;
    NodeSplitter splitter;
    boost::json::basic_parser<Forward> parser;
    std::size_t fed = 0;
};

ExtenderReader::ExtenderReader(ExtenderLimits limits) : impl_(std::make_unique<Impl>(limits)) {}
ExtenderReader::~ExtenderReader() = default;
ExtenderReader::ExtenderReader(ExtenderReader&&) noexcept = default;
ExtenderReader& ExtenderReader::operator=(ExtenderReader&&) noexcept = default;

void ExtenderReader::reset() {
    Impl& i = *impl_;
    i.args.pod.reset();
    i.args.names_mode = true;
    i.args.nodes.clear();
    i.args.raw_nodes.clear();
    i.args.raw_ends.clear();
    i.binding = {};
    i.preemption = {};
    i.saw_nodes = i.saw_names = i.saw_victims = false;
    i.path.clear();
    i.field = Field::kUnknown;
    i.text.clear();
    i.part_open = i.value_open = i.skip_next = false;
    i.skipping = i.capturing = i.victim_count = i.fed = 0;
    i.stack.reset();
    i.error.reset();
    i.splitter = NodeSplitter();
    i.parser.reset();
}

Status ExtenderReader::feed(std::span<const char> bytes) {
    Impl& i = *impl_;
    if (i.error) return *i.error;
    if (i.parser.done() || bytes.empty()) return ok_status();
    Code code;
    std::size_t used = 0;
    try {
        used = i.parser.write_some(true, bytes.data(), bytes.size(), code);
    } catch (const std::exception& e) {
        i.error = Error{ErrorCode::kInternal, std::string("extender body: ") + e.what()};
        return *i.error;
    }
    if (code) {
        if (!i.error) {
            i.error = Error{
                ErrorCode::kInvalid,
                "the body is not valid JSON near byte " + std::to_string(i.fed + used) + ": " +
                    code.message()};
        }
        return *i.error;
    }
    i.fed += used;
    if (i.limits.keep_nodes) {
        const auto split =
            i.splitter.feed(bytes.first(used), i.args.raw_nodes, i.args.raw_ends, i.limits.max_raw);
        if (!split) {
            i.error = split.error();
            return *i.error;
        }
    }
    return ok_status();
}

bool ExtenderReader::done() const {
    return impl_->parser.done();
}

namespace {

Status complete(const std::optional<Error>& error, bool done) {
    if (error) return *error;
    if (!done) return Error{ErrorCode::kInvalid, "the body ends in the middle of a JSON value"};
    return ok_status();
}

}  // namespace

Result<const ExtenderArgs*> ExtenderReader::args() {
    Impl& i = *impl_;
    EG_TRY_VOID(complete(i.error, done()));
    if (!i.args.pod) return Error{ErrorCode::kInvalid, "Pod is missing"};
    if (!i.saw_nodes && !i.saw_names) {
        return Error{ErrorCode::kInvalid, "both Nodes and NodeNames are missing"};
    }
    // Both only in hand-made bodies: names win, as they do for a cache-capable extender.
    i.args.names_mode = i.saw_names;
    if (!i.args.names_mode && i.limits.keep_nodes &&
        i.args.raw_ends.size() != i.args.nodes.size()) {
        return Error{ErrorCode::kInvalid, "Nodes.items cannot be taken apart"};
    }
    return &i.args;
}

Result<ExtenderBindingArgs> ExtenderReader::binding_args() {
    Impl& i = *impl_;
    EG_TRY_VOID(complete(i.error, done()));
    const auto missing = [](std::string_view what) {
        return Error{ErrorCode::kInvalid, std::string(what) + " is missing"};
    };
    if (i.binding.pod_name.empty()) return missing("PodName");
    if (i.binding.pod_namespace.empty()) return missing("PodNamespace");
    if (i.binding.node.empty()) return missing("Node");
    return i.binding;
}

Result<const ExtenderPreemptionArgs*> ExtenderReader::preemption_args() {
    Impl& i = *impl_;
    EG_TRY_VOID(complete(i.error, done()));
    if (!i.args.pod) return Error{ErrorCode::kInvalid, "Pod is missing"};
    i.preemption.pod = i.args.pod;
    if (!i.saw_victims) {
        return Error{
            ErrorCode::kInvalid, "both NodeNameToVictims and NodeNameToMetaVictims are missing"};
    }
    return &i.preemption;
}

}  // namespace egpu::k8s
