#include "base/result.h"

#include <cerrno>
#include <memory>

#include <gtest/gtest.h>

namespace egpu {
namespace {

Result<int> half(int n) {
    if (n % 2 != 0) return Error{ErrorCode::kInvalid, "odd"};
    return n / 2;
}

Result<int> quarter(int n) {
    EG_TRY(const int h, half(n));
    EG_TRY(const int q, half(h));
    return q;
}

Status check_even(int n) {
    EG_TRY_VOID([n]() -> Status {
        if (auto r = half(n); !r) return r.error().wrap("half");
        return {};
    }());
    return {};
}

TEST(Result, PassesValuesAndErrorsUp) {
    EXPECT_EQ(quarter(8).value(), 2);
    EXPECT_EQ(quarter(6).error().message, "odd");
    EXPECT_TRUE(check_even(2));
    EXPECT_EQ(check_even(3).error().message, "half: odd");
}

TEST(Result, HoldsMoveOnlyValues) {
    Result<std::unique_ptr<int>> r(std::make_unique<int>(3));
    const std::unique_ptr<int> p = std::move(r).value();
    EXPECT_EQ(*p, 3);
}

TEST(ResultDeathTest, AbortsOnTheValueOfAnError) {
    EXPECT_DEATH(static_cast<void>(half(1).value()), "broken invariant");
}

TEST(Error, KnowsErrno) {
    EXPECT_EQ(errno_error("open x", ENOENT).code, ErrorCode::kNotFound);
    EXPECT_EQ(errno_error("open x", ENOENT).message, "open x: No such file or directory");
    EXPECT_EQ(to_string(ErrorCode::kNotFound), "not_found");
}

}  // namespace
}  // namespace egpu
