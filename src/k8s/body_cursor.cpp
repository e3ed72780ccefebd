#include "k8s/body_cursor.h"

#include <array>

#include <boost/json/monotonic_resource.hpp>
#include <boost/json/parse.hpp>

#include "base/json.h"
#include "k8s/codec.h"

namespace egpu::k8s {

bool BodyCursor::read_text(std::string_view& into) {
    into = scanner.text();
    if (!scanner.plain()) {
        const auto parsed = json::parse({into.data() - 1, into.size() + 2});  // with its quotes
        if (!parsed) return refuse(ErrorCode::kInvalid, parsed.error().message);
        const json::string& text = parsed->get_string();
        unescaped_.assign(text.data(), text.size());
        into = unescaped_;
    }
    if (into.size() <= kMaxText) return true;
    return refuse(ErrorCode::kInvalid, "a key, name or UID is too long");
}

bool BodyCursor::check_node_name(std::string_view name, const char* when_empty) {
    if (name.empty()) return refuse(ErrorCode::kInvalid, when_empty);
    if (name.size() <= kMaxNodeName) return true;
    return refuse(ErrorCode::kInvalid, "a node's name is longer than 253 characters");
}

bool BodyCursor::read_pod(std::uint64_t from, Pod& into) {
    const char* const begin = window.at(from);
    const auto size = static_cast<std::size_t>(at - begin);
    if (size > kMaxPod) return refuse(ErrorCode::kExhausted, "a pod is too large");
    boost::json::parse_options options;
    options.max_depth = JsonScanner::kMaxDepth;
    std::array<unsigned char, 16U << 10> first;
    boost::json::monotonic_resource memory(first.data(), first.size());
    boost::system::error_code code;
    try {
        const json::value object = boost::json::parse({begin, size}, code, &memory, options);
        if (code) return refuse(ErrorCode::kInvalid, "a pod: " + code.message());
        auto pod = pod_from_json(object);
        if (!pod) return refuse(ErrorCode::kInvalid, pod.error().message);
        into = std::move(*pod);
        return true;
    } catch (const std::exception& e) {
        return refuse(ErrorCode::kInternal, std::string("a pod: ") + e.what());
    }
}

}  // namespace egpu::k8s
