// What the sections of an extender's request share: the bytes, the scanner and where it stands in
// them, and the error that ends the reading. Functions that may fail return false then.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "k8s/body_window.h"
#include "k8s/json_scanner.h"
#include "k8s/objects.h"

namespace egpu::k8s {

struct BodyCursor {
    using Token = JsonScanner::Token;
    static constexpr std::size_t kMaxText = 4096;     // of a key, a name or a UID
    static constexpr std::size_t kMaxNodeName = 253;  // by the API server's validation
    static constexpr std::size_t kMaxPod = 4U << 20;  // JSON text; the API server accepts 3 MiB

    BodyWindow window;
    JsonScanner scanner;
    const char* at = nullptr;  // in the window; behind the last token
    std::optional<Error> error;

    bool refuse(ErrorCode code, std::string message) {
        error = Error{code, std::move(message)};
        return false;
    }
    bool wrong_type(std::string_view what) {
        return refuse(ErrorCode::kInvalid, std::string(what) + " has the wrong JSON type");
    }
    bool too_many_nodes(std::size_t most) {
        return refuse(ErrorCode::kExhausted, "more than " + std::to_string(most) + " nodes");
    }
    std::uint64_t position() const { return window.position(at); }

    // The key or string just read, without its escapes; until the next call.
    bool read_text(std::string_view& into);
    // After a key: its value is passed unless the key is `key`.
    bool want(std::string_view key) {
        std::string_view text;
        if (!read_text(text)) return false;
        if (text != key) scanner.skip_value();
        return true;
    }
    // `name` may be a node's.
    bool check_node_name(std::string_view name, const char* when_empty);
    // The pod whose JSON text begins at `from` and has just ended.
    bool read_pod(std::uint64_t from, Pod& into);

  private:
    std::string unescaped_;
};

}  // namespace egpu::k8s
