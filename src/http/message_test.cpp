#include "http/message.h"

#include <gtest/gtest.h>

namespace egpu::http {
namespace {

TEST(Message, HeadersCompareWithoutCase) {
    Headers headers{{"Content-Type", "text/plain"}, {"X-A", "1"}, {"x-a", "2"}};
    EXPECT_EQ(headers.get("content-type"), "text/plain");
    EXPECT_EQ(headers.get("X-a"), "1");
    EXPECT_FALSE(headers.has("X-B"));
    EXPECT_EQ(headers.get("X-B"), "");
}

TEST(Message, QueryIsDecoded) {
    const Query q = Query::parse("fieldSelector=spec.nodeName%3Dn1&watch&limit=5&a=b+c&bad=%zz&%");
    EXPECT_EQ(q.get("fieldSelector"), "spec.nodeName=n1");
    EXPECT_TRUE(q.flag("watch"));
    EXPECT_FALSE(q.flag("limit"));
    EXPECT_FALSE(q.flag("absent"));
    EXPECT_EQ(q.get("a"), "b c");
    EXPECT_EQ(q.get("bad"), "%zz");
    EXPECT_TRUE(q.has("%"));
    EXPECT_TRUE(Query::parse("watch=true").flag("watch"));
    EXPECT_TRUE(Query::parse("watch=1").flag("watch"));
    EXPECT_FALSE(Query::parse("watch=false").flag("watch"));
}

TEST(Message, PercentCodingRoundTrips) {
    std::string all;
    for (int c = 0; c < 256; ++c) all.push_back(static_cast<char>(c));
    EXPECT_EQ(percent_decode(percent_encode(all)), all);
    EXPECT_EQ(percent_encode("a/b c~"), "a%2Fb%20c~");
    EXPECT_EQ(percent_decode("a+b"), "a+b");
    EXPECT_EQ(percent_decode("%4"), "%4");
}

TEST(Message, Urls) {
    const auto url = parse_url("https://[fd00::1]:6443/k8s/clusters/c-1/");
    ASSERT_TRUE(url) << url.error().message;
    EXPECT_EQ(
        *url, (Url{.tls = true, .host = "fd00::1", .port = 6443, .prefix = "/k8s/clusters/c-1"})
    );
    EXPECT_EQ(url->authority(), "[fd00::1]:6443");
    EXPECT_EQ(parse_url("http://localhost")->port, 80);
    EXPECT_EQ(parse_url("https://api.example")->authority(), "api.example");
    for (const char* bad :
         {"",
          "localhost:80",
          "ftp://a",
          "http://",
          "http://:80",
          "http://a:0",
          "http://a:70000",
          "http://a:x",
          "http://u:p@a",
          "http://a/?q",
          "http://a b",
          "http://[::1",
          "http://[::1]x",
          "http://a\r\nHost: b"}) {
        const auto r = parse_url(bad);
        EXPECT_FALSE(r) << bad;
    }
}

}  // namespace
}  // namespace egpu::http
