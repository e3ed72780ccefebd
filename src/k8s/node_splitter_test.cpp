#include "k8s/node_splitter.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "base/random.h"

namespace egpu::k8s {
namespace {

json::value random_value(Random& random, int depth) {
    switch (random.below(depth > 0 ? 5 : 3)) {
        case 0:
            return random.between(-1000, 1000);
        case 1:
        case 2: {
            static const char* const kPieces[] = {
                "\"", "\\", "{", "}", "[", "]", "a", "\\\"", "name", " ", "\n"};
            std::string text;
            const int n = random.between(0, 40);
            for (int i = 0; i < n; ++i) text += kPieces[random.below(std::size(kPieces))];
            return json::value(text);
        }
        case 3: {
            json::array list;
            for (int i = random.between(0, 6); i > 0; --i)
                list.push_back(random_value(random, depth - 1));
            return list;
        }
        default: {
            json::object fields;
            for (int i = random.between(0, 6); i > 0; --i) {
                fields["k" + std::to_string(i) + (random.chance(0.2) ? "\\\"}" : "")] =
                    random_value(random, depth - 1);
            }
            return fields;
        }
    }
}

// Whatever the nodes hold and however the bytes come, each node's text is found.
TEST(NodeSplitter, FindsEveryNodeInAnyText) {
    Random random(7);
    for (int round = 0; round < 300; ++round) {
        std::vector<std::string> nodes;
        std::string body = R"({"Pod":{"items":[{"a":1}],"x":)" +
                           json::to_text(random_value(random, 3)) +
                           R"(},"nodes":{"metadata":{"items":[{}]},"items":[)";
        for (int i = random.between(0, 8); i > 0; --i) {
            json::value v = random_value(random, 5);
            if (!v.is_object()) v = json::object{{"only", v}};
            nodes.push_back(json::to_text(v));
            body += nodes.back() + (i > 1 ? ", " : "");
        }
        body += R"(]},"NodeNames":null,"z":[{"items":[{}]}]})";
        for (const std::size_t piece :
             {std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{100}, body.size()}) {
            NodeSplitter splitter;
            std::string raw;
            std::vector<std::uint32_t> ends;
            for (std::size_t at = 0; at < body.size(); at += piece) {
                const std::size_t n = std::min(piece, body.size() - at);
                ASSERT_TRUE(splitter.feed({body.data() + at, n}, raw, ends, 1U << 24));
            }
            ASSERT_EQ(ends.size(), nodes.size()) << body;
            std::size_t from = 0;
            for (std::size_t i = 0; i < nodes.size(); ++i) {
                EXPECT_EQ(raw.substr(from, ends[i] - from), nodes[i]);
                from = ends[i];
            }
        }
    }
}

}  // namespace
}  // namespace egpu::k8s
