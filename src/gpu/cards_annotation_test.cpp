#include "gpu/cards_annotation.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "core/topology.h"
#include "gpu/inventory.h"

namespace egpu::gpu {
namespace {

core::Card card(const char* uuid, int index) {
    return {uuid, index, "Tesla T4", 15360, 0, true};
}

TEST(CardsAnnotation, exact_text) {
    auto second = card("GPU-b", 1);
    second.numa = -1;
    second.healthy = false;
    EXPECT_EQ(
        encode_cards(std::vector{card("GPU-a", 0), second}),
        R"({"version":1,"cards":[)"
        R"({"uuid":"GPU-a","index":0,"model":"Tesla T4","memoryMiB":15360,"numa":0,"healthy":true},)"
        R"({"uuid":"GPU-b","index":1,"model":"Tesla T4","memoryMiB":15360,"healthy":false}]})"
    );
    EXPECT_EQ(encode_cards(std::span<const core::Card>{}), R"({"version":1,"cards":[]})");
}

TEST(CardsAnnotation, reasons_are_written) {
    CardInfo info;
    info.card = card("GPU-a", 0);
    info.card.healthy = false;
    info.reason = "XID 48: the GPU needs a \"reset\"";
    const std::string text = encode_cards(std::vector{info});
    const auto parsed = json::parse(text);
    ASSERT_TRUE(parsed.ok());
    const auto& first = json::get_array(*parsed, {"cards"})->at(0);
    EXPECT_EQ(json::get_string(first, {"reason"}), info.reason);
    EXPECT_EQ(*decode_cards(text), std::vector{info.card});
}

TEST(CardsAnnotation, links_between_cards) {
    std::vector cards{card("GPU-a", 2), card("GPU-b", 0), card("GPU-c", 7)};
    const core::Link two_nvlinks = core::make_link(core::PciePath::kSwitch, 2);
    core::set_link(cards[0], cards[2], two_nvlinks);
    core::set_link(cards[1], cards[2], core::make_link(core::PciePath::kSystem, 0));
    const std::string text = encode_cards(cards);
    EXPECT_TRUE(text.ends_with(R"("healthy":true}],"links":"001501"})")) << text;
    const auto back = decode_cards(text);
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(*back, cards);
    EXPECT_EQ(core::link_between(back->at(2), back->at(0)), two_nvlinks);
    // An agent before this field says nothing, and so does one whose driver does not.
    EXPECT_EQ(
        encode_cards(std::vector{card("GPU-a", 0), card("GPU-b", 1)}).find("links"),
        std::string::npos
    );
}

TEST(CardsAnnotation, sixteen_cards_with_links_stay_small) {
    std::vector<core::Card> cards;
    for (int i = 0; i < 16; ++i) {
        cards.push_back(card("GPU-0f4f2c9e-3f2b-41a1-9c5d-2f6f3a1b7c88", i));
        cards.back().uuid += std::to_string(i);
    }
    const std::size_t before = encode_cards(cards).size();
    for (auto& a : cards) {
        for (auto& b : cards) core::set_link(a, b, core::make_link(core::PciePath::kNumaNode, 6));
    }
    EXPECT_EQ(encode_cards(cards).size() - before, 240 + std::string(R"(,"links":"")").size());
}

TEST(CardsAnnotation, round_trip) {
    std::vector<core::Card> cards;
    for (int i = 0; i < 16; ++i) cards.push_back(card(("GPU-" + std::to_string(i)).c_str(), i));
    cards[3].healthy = false;
    cards[4].numa = 1;
    cards[5].model = "A \"quoted\" \\ name \xC3\xA9";
    cards[6].uuid = "MIG-GPU-1/7/0";
    cards[7].index = mig_index(3, 2);
    const auto back = decode_cards(encode_cards(cards));
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(*back, cards);
}

TEST(CardsAnnotation, unknown_fields_and_absent_ones) {
    const auto cards =
        decode_cards(R"({"version":1,"later":{},"cards":[{"uuid":"GPU-1","index":2,"new":[1]}]})");
    ASSERT_TRUE(cards.ok());
    const core::Card expected{"GPU-1", 2, "", 0, -1, true};
    EXPECT_EQ(*cards, std::vector{expected});
}

TEST(CardsAnnotation, wrong_input_is_named) {
    const std::pair<std::string, const char*> wrong[] = {
        {"", "JSON"},
        {"[]", "version"},
        {R"({"version":2,"cards":[]})", "newer"},
        {R"({"version":"1","cards":[]})", "version"},
        {R"({"version":1})", "cards is missing"},
        {R"({"version":1,"cards":{}})", "not a list"},
        {R"({"version":1,"cards":[1]})", "not an object"},
        {R"({"version":1,"cards":[{"index":0}]})", "uuid"},
        {R"({"version":1,"cards":[{"uuid":"GPU 1","index":0}]})", "uuid"},
        {R"({"version":1,"cards":[{"uuid":"GPU-1"}]})", "index is missing"},
        {R"({"version":1,"cards":[{"uuid":"GPU-1","index":-1}]})", "GPU-1"},
        {R"({"version":1,"cards":[{"uuid":"GPU-1","index":1.5}]})", "index"},
        {R"({"version":1,"cards":[{"uuid":"GPU-1","index":0,"memoryMiB":-5}]})", "memoryMiB"},
        {R"({"version":1,"cards":[{"uuid":"GPU-1","index":0,"memoryMiB":1e30}]})", "memoryMiB"},
        {R"({"version":1,"cards":[{"uuid":"GPU-1","index":0,"numa":"x"}]})", "numa"},
        {R"({"version":1,"cards":[{"uuid":"GPU-1","index":0,"healthy":"no"}]})", "healthy"},
        {R"({"version":1,"cards":[{"uuid":"G","index":0},{"uuid":"G","index":1}]})", "twice"},
        {R"({"version":1,"cards":[{"uuid":"G","index":0},{"uuid":"H","index":0}]})", "twice"},
        {R"({"version":1,"cards":[{"uuid":"G","index":0},{"uuid":"H","index":1}],"links":"0"})",
         "links"},
        {R"({"version":1,"cards":[{"uuid":"G","index":0},{"uuid":"H","index":1}],"links":"0G"})",
         "links"},
        {R"({"version":1,"cards":[{"uuid":"G","index":0},{"uuid":"H","index":1}],"links":7})",
         "links"},
        {R"({"version":1,"cards":[],"links":"00"})", "links"},
        {std::string(300 << 10, ' '), "200 KiB"},
    };
    for (const auto& [text, word] : wrong) {
        const auto cards = decode_cards(text);
        ASSERT_FALSE(cards.ok()) << text;
        EXPECT_EQ(cards.error().code, ErrorCode::kInvalid);
        EXPECT_NE(cards.error().message.find(word), std::string::npos) << cards.error().message;
        EXPECT_NE(cards.error().message.find("edge-gpu.io/cards"), std::string::npos);
    }
    std::string many = R"({"version":1,"cards":[)";
    for (int i = 0; i <= 1024; ++i) {
        many += (i > 0 ? "," : "") + (R"({"uuid":"G)" + std::to_string(i)) + R"(","index":)" +
                std::to_string(i) + "}";
    }
    EXPECT_FALSE(decode_cards(many + "]}").ok());
}

}  // namespace
}  // namespace egpu::gpu
