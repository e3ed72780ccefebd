// Result<T>: the one way a function here reports an expected failure.
//
// Three ways to handle one: EG_TRY returns it to the caller, `if (!r)` deals with it on the spot,
// and `value()` on a failed Result aborts (a broken invariant, not an expected failure).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/check.h"

namespace egpu {

enum class ErrorCode {
    kInvalid,      // the input is wrong; retrying the same input cannot help
    kNotFound,     // the named thing does not exist
    kConflict,     // the thing changed meanwhile, or exists already
    kUnavailable,  // the peer cannot be reached or is overloaded; may be retried
    kExhausted,    // a limit is reached: size, quota, room on a card
    kDeadline,     // no answer in time; the outcome is unknown
    kCorrupt,      // stored data fails its check
    kPermission,   // refused by the peer or the kernel
    kStopped,      // the process is shutting down
    kInternal,     // our own fault
};

// The lower-case word for `code`, as used in logs and metrics ("not_found").
std::string_view to_string(ErrorCode code);

struct Error {
    ErrorCode code = ErrorCode::kInternal;
    std::string message;

    // The same error with "context: " before the message; use when crossing a module.
    Error wrap(std::string_view context) const;
};

template <class T>
class [[nodiscard]] Result {
  public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }

    T& value() & {
        EG_CHECK(ok());
        return std::get<0>(state_);
    }
    const T& value() const& {
        EG_CHECK(ok());
        return std::get<0>(state_);
    }
    T&& value() && {
        EG_CHECK(ok());
        return std::get<0>(std::move(state_));
    }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }

    const Error& error() const& {
        EG_CHECK(!ok());
        return std::get<1>(state_);
    }
    Error&& error() && {
        EG_CHECK(!ok());
        return std::get<1>(std::move(state_));
    }

  private:
    std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
  public:
    Result() = default;
    Result(Error error) : error_(std::move(error)) {}

    bool ok() const { return !error_.has_value(); }
    explicit operator bool() const { return ok(); }
    void value() const { EG_CHECK(ok()); }

    const Error& error() const& {
        EG_CHECK(!ok());
        return *error_;
    }
    Error&& error() && {
        EG_CHECK(!ok());
        return *std::move(error_);
    }

  private:
    std::optional<Error> error_;
};

using Status = Result<void>;
inline Status ok_status() {
    return {};
}

// errno as an Error: "open /x: No such file or directory". ENOENT, EACCES and the like get their
// code.
Error errno_error(std::string_view what, int error_number);

}  // namespace egpu

#define EG_CONCAT_INNER(a, b) a##b
#define EG_CONCAT(a, b) EG_CONCAT_INNER(a, b)

// EG_TRY(auto x, f());   declares x from the value of f(), or returns its error.
#define EG_TRY(declaration, expression) \
    EG_TRY_IMPL(EG_CONCAT(eg_result_, __LINE__), declaration, expression)
#define EG_TRY_IMPL(tmp, declaration, expression) \
    auto tmp = (expression);                      \
    if (!tmp) return std::move(tmp).error();      \
    declaration = std::move(tmp).value()

// EG_TRY_VOID(f());   returns f()'s error, if any.
#define EG_TRY_VOID(expression)                                                             \
    do {                                                                                    \
        if (auto eg_status = (expression); !eg_status) return std::move(eg_status).error(); \
    } while (false)
