#include "k8s/json_scanner.h"

#include <boost/json/stream_parser.hpp>
#include <gtest/gtest.h>

#include "base/json.h"
#include "core/replay_seed.h"
#include "k8s/json_for_test.h"

namespace egpu::k8s {
namespace {

using Token = JsonScanner::Token;

// Keys that begin with an s: their values are skipped.
bool to_skip(std::string_view key) {
    return key.starts_with('s');
}

// Scans `text` in pieces and writes down what the scanner said, without white space and with null
// for what was skipped. nullopt when it is not JSON or not complete. Each piece is in a block of
// its own size, so that a look behind its end, or into an earlier one, is noticed.
std::optional<std::string> rewritten(std::string_view text, Random& random, std::size_t piece) {
    JsonScanner scanner;
    std::string out;
    std::vector<char> kept;
    const auto comma = [&] {
        if (!out.empty() && std::string_view("{[,:").find(out.back()) == std::string_view::npos) {
            out += ',';
        }
    };
    for (std::size_t from = 0; from < text.size() && !scanner.done();) {
        const std::size_t most = piece == 0 ? 1 + random.below(40) : piece;
        const std::string_view more = text.substr(from, most);
        from += more.size();
        std::vector<char> grown(kept);
        grown.insert(grown.end(), more.begin(), more.end());
        grown.shrink_to_fit();
        kept.swap(grown);
        grown = {};
        const char* at = kept.data();
        const char* const end = at + kept.size();
        for (bool waiting = false; !waiting;) {
            if (out.ends_with('[') || out.ends_with('"')) {
                scanner.pass_plain_strings(at, end, [&](std::string_view string) {
                    if (string.size() > 20) return false;
                    comma();
                    out.append("\"").append(string).append("\"");
                    return true;
                });
            }
            switch (scanner.next(at, end)) {
                case Token::kBad:
                    EXPECT_STRNE(scanner.problem(), "");
                    return std::nullopt;
                case Token::kMore:
                case Token::kEnd:
                    waiting = true;
                    break;
                case Token::kObject:
                    comma();
                    out += '{';
                    break;
                case Token::kArray:
                    comma();
                    out += '[';
                    break;
                case Token::kObjectEnd:
                    out += '}';
                    break;
                case Token::kArrayEnd:
                    out += ']';
                    break;
                case Token::kKey:
                    comma();
                    out.append("\"").append(scanner.text()).append("\":");
                    if (to_skip(scanner.text())) scanner.skip_value();
                    break;
                case Token::kString:
                    comma();
                    out.append("\"").append(scanner.text()).append("\"");
                    EXPECT_EQ(scanner.plain(), is_plain(scanner.text()));
                    break;
                case Token::kNumber:
                    comma();
                    out += scanner.text();
                    break;
                case Token::kTrue:
                    comma();
                    out += "true";
                    break;
                case Token::kFalse:
                    comma();
                    out += "false";
                    break;
                case Token::kNull:
                    comma();
                    out += "null";
                    break;
                case Token::kSkipped:
                    out += "null";
                    break;
            }
        }
        kept.erase(kept.begin(), kept.begin() + (at - kept.data()));
    }
    if (!scanner.done()) return std::nullopt;
    return out;
}

json::value without_skipped(const json::value& from) {
    if (const auto* list = from.if_array()) {
        json::array out;
        for (const auto& v : *list) out.push_back(without_skipped(v));
        return out;
    }
    if (const auto* fields = from.if_object()) {
        json::object out;
        for (const auto& [key, v] : *fields) {
            out[key] = to_skip(std::string_view(key.data(), key.size())) ? json::value()
                                                                         : without_skipped(v);
        }
        return out;
    }
    return from;
}

// What Boost.JSON says about the first value of `text`.
std::optional<json::value> judged(std::string_view text) {
    boost::json::parse_options options;
    options.max_depth = JsonScanner::kMaxDepth;
    boost::json::stream_parser parser({}, options);
    boost::system::error_code error;
    parser.write_some(text.data(), text.size(), error);
    if (error || !parser.done()) return std::nullopt;
    return parser.release();
}

void expect_same(const std::string& text, Random& random) {
    const auto judge = judged(text);
    for (const std::size_t piece : {text.size() + 1, std::size_t{1}, std::size_t{0}}) {
        const auto ours = rewritten(text, random, piece);
        ASSERT_EQ(ours.has_value(), judge.has_value()) << text << "\npieces of " << piece;
        if (!ours) continue;
        const auto again = json::parse(*ours);
        ASSERT_TRUE(again) << *ours << "\nfrom " << text;
        EXPECT_EQ(*again, without_skipped(*judge)) << text;
    }
}

TEST(JsonScanner, AgreesWithBoostOnRandomTexts) {
    EG_TRACE_SEED();
    Random random(core::replay_seed());
    int valid = 0;
    for (int round = 0; round < 6000; ++round) {
        std::string text = random_json_text(random, 5);
        if (!text.starts_with('{') && !text.starts_with('[')) text = "[" + text + "]";
        if (round % 3 != 0) break_text(text, random);
        if (!text.starts_with('{') && !text.starts_with('[')) continue;
        valid += judged(text) ? 1 : 0;
        expect_same(text, random);
        if (HasFatalFailure()) return;
    }
    EXPECT_GT(valid, 2000);
    EXPECT_LT(valid, 5500) << "broken texts are tried too";
}

TEST(JsonScanner, AgreesWithBoostOnTheGrammarsCorners) {
    Random random(1);
    const char* const values[] = {
        "0",
        "-0",
        "01",
        "-",
        "+1",
        "1.",
        ".5",
        "1.5",
        "1e5",
        "1E+05",
        "1e",
        "1e-",
        "1.2.3",
        "1-2",
        "0x1",
        "--1",
        "123456789012345678901234567890",
        "1e400",
        "true",
        "tru",
        "truex",
        "True",
        "nul",
        "nulll",
        "false",
        "fals",
        "",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\\\\"",
        "\"\\/\"",
        "\"\\b\\f\\n\\r\\t\"",
        "\"\\v\"",
        "\"\\u12\"",
        "\"\\u12G4\"",
        "\"\\u0000\"",
        "\"\\uD83D\"",
        "\"\\uD83D\\uDE00\"",
        "\"\\uD83D\\uD83D\"",
        "\"\\uDE00\"",
        "\"\\ud83dx\"",
        "\"\\uD83D\\n\"",
        "\"\x7f\"",
        "\"\x1f\"",
        "\"\n\"",
        "\"\xc3\xa9\"",
        "\"\xc3\"",
        "\"\xc0\x80\"",
        "\"\xff\"",
        "\"\xed\xa0\x80\"",
        "\"\xf0\x9f\x98\x80\"",
        "\"\xf4\x90\x80\x80\"",
        "\"\xe2\x82\"",
        "[]",
        "{}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1,2]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\" : 1 , \"b\":[ ] }",
        "{a:1}",
        "{1:1}",
        "{]",
        "[}",
        "// x\n1",
        "/**/1",
        "'a'",
        "\xef\xbb\xbf"
        "1",
        "\"a\" \"b\"",
        "NaN",
        "Infinity"};
    for (const char* value : values) {
        for (const char* around :
             {"[%]", "{\"k\":%}", "{\"skip\":%}", "[\"a\",\"b\",%]", " [ % ] ", "[%"}) {
            std::string text = around;
            text.replace(text.find('%'), 1, value);
            SCOPED_TRACE(text);
            expect_same(text, random);
        }
    }
}

TEST(JsonScanner, DepthAndLengthsAreLimited) {
    Random random(1);
    const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
    EXPECT_TRUE(rewritten(nested(JsonScanner::kMaxDepth), random, 7));
    EXPECT_FALSE(rewritten(nested(JsonScanner::kMaxDepth + 1), random, 7));
    EXPECT_FALSE(rewritten("{\"s\":" + nested(JsonScanner::kMaxDepth) + "}", random, 7));
    EXPECT_TRUE(rewritten("[" + std::string(JsonScanner::kMaxNumber, '1') + "]", random, 7));
    EXPECT_FALSE(rewritten("[" + std::string(JsonScanner::kMaxNumber + 1, '1'), random, 7));
    EXPECT_TRUE(rewritten("[1e12345678]", random, 7));
    EXPECT_FALSE(rewritten("[1e123456789]", random, 7));
}

// What lies behind the root value is never looked at.
TEST(JsonScanner, StopsBehindTheRootValue) {
    JsonScanner scanner;
    const std::string text = R"({"a":1} rubbish)";
    const char* at = text.data();
    const char* const end = at + text.size();
    EXPECT_EQ(scanner.next(at, end), Token::kObject);
    EXPECT_EQ(scanner.next(at, end), Token::kKey);
    EXPECT_EQ(scanner.next(at, end), Token::kNumber);
    EXPECT_EQ(scanner.next(at, end), Token::kObjectEnd);
    EXPECT_TRUE(scanner.done());
    EXPECT_EQ(scanner.next(at, end), Token::kEnd);
    EXPECT_EQ(scanner.next(at, at), Token::kEnd);
}

}  // namespace
}  // namespace egpu::k8s
