#include "base/base64.h"

#include <gtest/gtest.h>

namespace egpu {
namespace {

TEST(Base64, KnownAnswers) {
    EXPECT_EQ(base64_encode(""), "");
    EXPECT_EQ(base64_encode("f"), "Zg==");
    EXPECT_EQ(base64_encode("fo"), "Zm8=");
    EXPECT_EQ(base64_encode("foobar"), "Zm9vYmFy");
    EXPECT_EQ(base64_decode("Zm9v\nYmE=").value(), "fooba");
    EXPECT_EQ(base64_decode("Zm8").value(), "fo");
}

TEST(Base64, RefusesForeignCharactersAndTruncation) {
    EXPECT_EQ(base64_decode("Zm9*").error().code, ErrorCode::kInvalid);
    EXPECT_EQ(base64_decode("Z").error().code, ErrorCode::kInvalid);
    EXPECT_EQ(base64_decode("Zg==Zg").error().code, ErrorCode::kInvalid);
}

TEST(Base64, RoundTripsEveryByte) {
    std::string bytes;
    for (int i = 0; i < 256; ++i) {
        bytes.push_back(static_cast<char>(i));
        EXPECT_EQ(base64_decode(base64_encode(bytes)).value(), bytes);
    }
}

}  // namespace
}  // namespace egpu
