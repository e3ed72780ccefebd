// The errors of the Kubernetes API as values: metav1.Status with code, reason, message and details.
// Outcome<T> is what every verb here returns: the thing, or the Status that the client is to see.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.h"
#include "base/result.h"

namespace egpu::testing {

struct Resource;

struct StatusCause {
    std::string reason;  // "FieldValueInvalid"
    std::string message;
    std::string field;  // "spec.containers[0].name"
};

struct ApiStatus {
    int code = 500;
    std::string reason;
    std::string message;
    std::string name;   // details
    std::string group;  // details
    std::string kind;   // details: plural of the resource, or the kind for Invalid
    std::vector<StatusCause> causes;
    std::optional<int> retry_after_s;

    std::string to_json() const;
    Error to_error() const;
};

// {"kind":"Status","status":"Success",...}, the answer to a delete or a binding.
std::string success_status(
    std::string_view name, const Resource* resource, std::string_view uid, int code = 0
);

namespace status {
ApiStatus not_found(const Resource& resource, std::string_view name);
ApiStatus no_such_path();
ApiStatus already_exists(const Resource& resource, std::string_view name);
// "Operation cannot be fulfilled on pods "p": <why>"; `what` overrides the resource
// ("pods/binding").
ApiStatus conflict(
    const Resource& resource,
    std::string_view name,
    std::string_view why,
    std::string_view what = ""
);
ApiStatus stale(const Resource& resource, std::string_view name);
ApiStatus uid_conflict(
    const Resource& resource, std::string_view name, std::string_view wanted, std::string_view is
);
ApiStatus invalid(const Resource& resource, std::string_view name, std::vector<StatusCause> causes);
ApiStatus bad_request(std::string_view message);
ApiStatus expired(std::string_view message);
ApiStatus too_large_version(std::uint64_t wanted, std::uint64_t current);
ApiStatus unauthorized();
ApiStatus method_not_allowed();
ApiStatus unsupported_media_type(std::string_view message);
// Any code, with the reason that belongs to it.
ApiStatus of_code(int code, std::string_view message);
}  // namespace status

template <class T>
class [[nodiscard]] Outcome {
  public:
    Outcome(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Outcome(ApiStatus failure) : state_(std::in_place_index<1>, std::move(failure)) {}

    explicit operator bool() const { return state_.index() == 0; }
    T& operator*() {
        EG_CHECK(state_.index() == 0);
        return std::get<0>(state_);
    }
    T* operator->() { return &**this; }
    const ApiStatus& failure() const {
        EG_CHECK(state_.index() == 1);
        return std::get<1>(state_);
    }

  private:
    std::variant<T, ApiStatus> state_;
};

// Success, or why not.
using Verdict = std::optional<ApiStatus>;

}  // namespace egpu::testing
