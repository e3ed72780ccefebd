// Random bodies, whole and broken, in pieces of every size: names that arrive at once take the fast
// way, those that arrive byte by byte the slow one, and a DOM of the same text is the judge.
#include <algorithm>

#include <boost/json/stream_parser.hpp>
#include <gtest/gtest.h>

#include "base/json.h"
#include "core/replay_seed.h"
#include "k8s/extender.h"
#include "k8s/json_for_test.h"

namespace egpu::k8s {
namespace {

std::string random_case(std::string key, Random& random) {
    for (char& c : key) {
        if (random.chance(0.1) && c > '9') c = static_cast<char>(c ^ 0x20);
    }
    return key;
}

// A node's name as JSON writes it; nearly always plain.
std::string random_name(Random& random) {
    std::string name = "node-" + std::to_string(random.below(50));
    if (random.chance(0.3)) name += ".some-rack.some-room.example.com";
    if (random.chance(0.03)) name += "\\u002d";
    if (random.chance(0.03)) name += "\xc3\xa9";
    if (random.chance(0.01)) name += "\\\"";
    return "\"" + name + "\"";
}

std::string random_names(Random& random) {
    std::string list = "[";
    const bool tight = random.chance(0.7);
    for (int n = random.between(0, 40); n > 0; --n) {
        list += random_name(random);
        if (n > 1)
            list += tight ? "," : random_json_space(random) + "," + random_json_space(random);
    }
    return list + "]";
}

std::string random_node(Random& random, std::size_t padding) {
    std::string node = "{";
    const auto other = [&] {
        if (random.chance(0.5)) node += "\"x\":" + random_json_text(random, 3) + ",";
    };
    other();
    node += "\"metadata\":{";
    if (random.chance(0.5)) node += "\"labels\":" + random_json_text(random, 2) + ",";
    node += "\"name\":" + random_json_space(random) + random_name(random) + "},";
    if (padding > 0) node += "\"pad\":\"" + std::string(random.below(padding), 'p') + "\",";
    node += "\"spec\":{\"metadata\":{\"name\":\"not-this\"}}";
    return node + "}";
}

std::string random_nodes(Random& random, std::size_t padding) {
    std::string list = "{\"metadata\":{},\"items\":[";
    for (int n = random.between(0, 12); n > 0; --n) {
        list += random_node(random, padding);
        if (n > 1) list += random_json_space(random) + "," + random_json_space(random);
    }
    return list + "]}";
}

std::string random_body(Random& random, bool names, std::size_t padding) {
    std::vector<std::string> fields;
    const auto field = [&](const char* key, const std::string& value) {
        fields.push_back(
            "\"" + random_case(key, random) + "\"" + random_json_space(random) + ":" + value
        );
    };
    field(
        "Pod",
        R"({"metadata":{"name":"p","namespace":"n","annotations":{"a":)" +
            random_json_string(random) + R"(}},"spec":)" + random_json_text(random, 2) + "}"
    );
    field("Nodes", names ? "null" : random_nodes(random, padding));
    field("NodeNames", names ? random_names(random) : "null");
    for (int n = random.between(0, 2); n > 0; --n) {
        field(("other" + std::to_string(n)).c_str(), random_json_text(random, 4));
    }
    for (std::size_t i = fields.size() - 1; i > 0; --i) {
        std::swap(fields[i], fields[random.below(i + 1)]);
    }
    std::string body = "{";
    for (const std::string& text : fields) {
        if (body.size() > 1) body += random_json_space(random) + ",";
        body += text;
    }
    return body + random_json_space(random) + "}\n";
}

// What a reader made of a body.
struct Seen {
    bool good = false;
    ErrorCode code = ErrorCode::kInternal;
    bool names_mode = false;
    std::string note;  // annotation a of the pod
    std::vector<std::string> names;
    std::vector<std::string> texts;

    bool operator==(const Seen&) const = default;
};

// `piece` 0: of random sizes, received into the reader's own room.
Seen read(ExtenderReader& reader, std::string_view body, std::size_t piece, Random& random) {
    reader.reset();
    Seen seen;
    for (std::size_t at = 0; at < body.size();) {
        Status fed = ok_status();
        std::size_t n = std::min(piece, body.size() - at);
        if (piece == 0) {
            const std::span<char> room = reader.room();
            EXPECT_FALSE(room.empty());
            n = std::min({room.size(), body.size() - at, std::size_t{1} + random.below(99'999)});
            std::copy_n(body.data() + at, n, room.data());
            fed = reader.received(n);
        } else {
            fed = reader.feed({body.data() + at, n});
        }
        at += n;
        if (!fed) break;
    }
    const auto args = reader.args();
    seen.good = args.ok();
    if (!args) {
        seen.code = args.error().code;
        return seen;
    }
    seen.names_mode = (*args)->names_mode;
    const auto& annotations = (*args)->pod->meta.annotations;
    if (const auto note = annotations.find("a"); note != annotations.end())
        seen.note = note->second;
    for (std::size_t i = 0; i < (*args)->nodes.size(); ++i) {
        seen.names.emplace_back((*args)->nodes[i]);
    }
    for (const auto text : (*args)->node_texts) seen.texts.emplace_back(text);
    return seen;
}

const json::value* field_of(const json::value& body, std::string_view name) {
    const json::value* found = nullptr;
    for (const auto& [key, value] : body.get_object()) {
        const bool same =
            std::equal(key.begin(), key.end(), name.begin(), name.end(), [](char a, char b) {
                return (a | 0x20) == (b | 0x20);
            });
        if (same) found = &value;
    }
    return found;
}

// Against the DOM of the body's first value.
void judge(const Seen& seen, std::string_view body, bool kept) {
    boost::json::stream_parser parser;
    boost::system::error_code error;
    parser.write_some(body.data(), body.size(), error);
    ASSERT_TRUE(!error && parser.done()) << "accepted, but is not JSON: " << body;
    const json::value dom = parser.release();
    const json::value* names = field_of(dom, "NodeNames");
    std::vector<std::string> expected;
    if (names != nullptr && names->is_array()) {
        for (const auto& name : names->get_array()) expected.emplace_back(name.get_string());
    } else {
        const json::value* nodes = field_of(dom, "Nodes");
        ASSERT_NE(nodes, nullptr);
        const json::array* items = json::get_array(*nodes, {"items"});
        if (kept) {
            ASSERT_EQ(seen.texts.size(), items == nullptr ? 0 : items->size());
        }
        for (std::size_t i = 0; items != nullptr && i < items->size(); ++i) {
            expected.emplace_back(json::get_string((*items)[i], {"metadata", "name"}));
            if (!kept) continue;
            const auto text = json::parse(seen.texts[i]);
            ASSERT_TRUE(text) << seen.texts[i];
            EXPECT_EQ(*text, (*items)[i]);
        }
    }
    EXPECT_EQ(seen.names, expected);
}

// Answers for a random choice of nodes say just that.
void check_answers(ExtenderReader& reader, const Seen& seen, Random& random) {
    const ExtenderArgs& args = **reader.args();
    std::vector<std::uint32_t> fitting;
    std::vector<FailedNode> failed;
    const FilterReason reasons[] = {
        {"why \"not\"", true}, {"why \"not\"", false}, {"no room", true}, {"no room", false}};
    std::vector<int> scores;
    const double share = random.chance(0.3) ? 1.0 : 0.6;
    for (std::uint32_t i = 0; i < seen.names.size(); ++i) {
        scores.push_back(random.between(0, 10));
        if (random.chance(share)) {
            fitting.push_back(i);
        } else {
            failed.push_back({i, i % 4});
        }
    }
    const std::string text = write_filter_result(args, fitting, failed, reasons).text();
    const auto result = json::parse(text);
    ASSERT_TRUE(result) << text;
    const auto* list = json::get_array(*result, {"NodeNames"});
    if (!args.names_mode) list = json::get_array(*result, {"Nodes", "items"});
    ASSERT_NE(list, nullptr) << text;
    ASSERT_EQ(list->size(), fitting.size()) << text;
    for (std::size_t i = 0; i < fitting.size(); ++i) {
        if (args.names_mode) {
            EXPECT_EQ(list->at(i), json::value(seen.names[fitting[i]]));
        } else {
            EXPECT_EQ(list->at(i), *json::parse(seen.texts[fitting[i]]));
        }
    }
    json::object expected[2];  // by unresolvable; of a name that is there twice the last counts
    for (const FailedNode& node : failed) {
        const FilterReason& reason = reasons[node.reason];
        expected[reason.unresolvable ? 1 : 0][seen.names[node.node]] = reason.message;
    }
    EXPECT_EQ(result->at("FailedNodes"), json::value(expected[0])) << text;
    EXPECT_EQ(result->at("FailedAndUnresolvableNodes"), json::value(expected[1])) << text;
    const auto priorities = json::parse(write_priorities(args, scores));
    ASSERT_TRUE(priorities);
    ASSERT_EQ(priorities->as_array().size(), scores.size());
    for (std::size_t i = 0; i < scores.size(); ++i) {
        const json::object score{{"Host", seen.names[i]}, {"Score", scores[i]}};
        EXPECT_EQ(priorities->as_array()[i], score);
    }
}

TEST(ExtenderProperty, EveryWayToReadABodyIsTheSame) {
    EG_TRACE_SEED();
    Random random(core::replay_seed());
    ExtenderReader keeping;
    ExtenderReader passing(ExtenderLimits{.keep_nodes = false});
    int read_well = 0;
    for (int round = 0; round < 3000; ++round) {
        const bool big = round % 100 == 0;  // does not fit the window: moved and grown
        std::string body = random_body(random, random.chance(0.6), big ? 200'000 : 0);
        const bool broken = round % 2 == 1;
        if (broken) break_text(body, random);
        const Seen whole = read(keeping, body, body.size() + 1, random);
        ASSERT_TRUE(whole.good || broken) << body;
        if (whole.good) {
            ++read_well;
            judge(whole, body, true);
            check_answers(keeping, whole, random);
        }
        for (const std::size_t piece : {std::size_t{1}, std::size_t{13}, std::size_t{0}}) {
            if (big && piece != 0) continue;
            ASSERT_EQ(read(keeping, body, piece, random), whole) << "pieces of " << piece << "\n"
                                                                 << body;
            Seen names = read(passing, body, piece, random);
            EXPECT_TRUE(names.texts.empty());
            names.texts = whole.texts;
            ASSERT_EQ(names, whole) << "pieces of " << piece << "\n" << body;
        }
        if (HasFailure()) FAIL() << body;
    }
    EXPECT_GT(read_well, 1500);
    EXPECT_LT(read_well, 2900) << "broken bodies are tried too";
}

// What a reader expects may make it quicker and nothing else.
TEST(ExtenderProperty, ExpectedNamesAreReadAsOthersAre) {
    EG_TRACE_SEED();
    Random random(core::replay_seed());
    ExtenderReader plain;
    ExtenderReader expecting;
    std::size_t in_runs = 0;
    for (int round = 0; round < 400; ++round) {
        std::vector<std::string> names;
        for (int n = random.between(0, 300); n > 0; --n) {
            names.push_back(
                "node-" + std::to_string(random.below(50)) + std::string(random.below(9), 'x')
            );
        }
        NameList list;
        for (const std::string& name : names) list.add(name);
        const auto entry =
            random.below(2) == 0 ? KnownNames::Entry::kFirst : KnownNames::Entry::kAny;
        const auto expected = std::make_shared<const KnownNames>(std::move(list), entry);
        switch (random.below(8)) {  // what comes is not always what was expected
            case 0:
                if (!names.empty()) names[random.below(names.size())] += "y";
                break;
            case 1:
                if (!names.empty())
                    names.erase(
                        names.begin() + static_cast<std::ptrdiff_t>(random.below(names.size()))
                    );
                break;
            case 2:
                names.push_back("more");
                break;
            case 3:
                if (!names.empty()) names[random.below(names.size())] = "a\\u0041\\\"";
                break;
            case 4:  // from another name on
                if (!names.empty())
                    std::rotate(
                        names.begin(),
                        names.begin() + static_cast<std::ptrdiff_t>(random.below(names.size())),
                        names.end()
                    );
                break;
            case 5:  // in pieces
                for (std::size_t n = random.below(1 + names.size() / 4); n > 0; --n)
                    std::swap(names[random.below(names.size())], names[random.below(names.size())]);
                break;
            default:
                break;
        }
        const char* const space = random.below(5) == 0 ? " " : "";
        std::string body = R"({"Pod":{"metadata":{"name":"p"}},"NodeNames":[)";
        for (std::size_t n = 0; n < names.size(); ++n) {
            body += (n == 0 ? "\"" : ",\"") + names[n] + "\"";
            if (random.below(100) == 0) body += space;
        }
        body += random.below(30) == 0 ? ",]" : random.below(30) == 0 ? "" : "]";
        body += "}";
        expecting.expect(random.below(10) == 0 ? nullptr : expected);
        const std::size_t piece = random.below(3) == 0 ? 0 : 1 + random.below(4000);
        const Seen with = read(expecting, body, piece, random);
        const Seen without = read(plain, body, body.size(), random);
        ASSERT_EQ(with.good, without.good) << body;
        ASSERT_EQ(with.names, without.names) << body;
        if (!with.good) continue;
        std::size_t behind = 0;
        for (const KnownRun& run : (*expecting.args())->known_runs) {
            ASSERT_GE(run.first, behind);
            for (std::size_t n = 0; n < run.count; ++n) {
                ASSERT_EQ(expected->names()[run.known + n], with.names[run.first + n]) << body;
            }
            behind = run.first + run.count;
            in_runs += run.count;
        }
    }
    EXPECT_GT(in_runs, 10'000U) << "most lists are expected";
}

}  // namespace
}  // namespace egpu::k8s
