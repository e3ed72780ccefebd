#include "cli/document.h"

#include <gtest/gtest.h>

namespace egpu::cli {
namespace {

Node read(const std::string& text) {
    auto document = read_document(text);
    EXPECT_TRUE(document) << (document ? "" : document.error().message);
    return document ? document->root : Node{};
}

TEST(Document, ScalarsAsKubeSchedulerReadsThem) {
    const Node root =
        read("{a: 10, b: \"10\", c: yes, d: 'yes', e: 1.5, f: ~, g: text, h: +3, i: 08x}");
    EXPECT_EQ(root.find("a")->as_integer(), 10);
    EXPECT_EQ(root.find("a")->as_text(), std::nullopt);
    EXPECT_EQ(root.find("b")->as_integer(), std::nullopt);
    EXPECT_EQ(root.find("b")->as_text(), "10");
    EXPECT_EQ(root.find("c")->as_bool(), true);
    EXPECT_EQ(root.find("d")->as_bool(), std::nullopt);
    EXPECT_EQ(root.find("d")->as_text(), "yes");
    EXPECT_EQ(root.find("e")->as_integer(), std::nullopt);
    EXPECT_EQ(root.find("f"), nullptr);
    EXPECT_EQ(root.find("g")->as_text(), "text");
    EXPECT_EQ(root.find("h")->as_integer(), 3);
    EXPECT_EQ(root.find("i")->as_integer(), std::nullopt);
}

TEST(Document, LinesOrderAndRepeatedKeysAreKept) {
    const Node root = read("b: 1\na:\n- x\n- y: 2\nb: 3\n");
    ASSERT_EQ(root.entries.size(), 3U);
    EXPECT_EQ(root.entries[0].key, "b");
    EXPECT_EQ(root.entries[1].line, 2);
    EXPECT_EQ(root.entries[2].key, "b");
    EXPECT_EQ(root.entries[2].line, 5);
    EXPECT_EQ(root.find("a")->items[1].line, 4);
}

TEST(Document, JsonWithTabsAndWithoutBlanks) {
    const Node root = read("{\n\t\"a\":{\"b\":[1,true,null]},\n\t\"c\":\"d\"}\n");
    EXPECT_EQ(root.find("a")->find("b")->items.size(), 3U);
    EXPECT_EQ(root.find("c")->as_text(), "d");
}

TEST(Document, FurtherDocumentsAreNoticed) {
    for (const char* text :
         {"a: 1\n---\nb: 2\n", "---\na: 1\n--- {b: 2}\n", "# x\n---\na: 1\n---\n# y\n---\nb: 2"}) {
        const auto document = read_document(text);
        ASSERT_TRUE(document) << text;
        EXPECT_TRUE(document->more_follow) << text;
        EXPECT_NE(document->root.find("a"), nullptr) << text;
    }
    for (const char* text :
         {"a: 1\n",
          "---\na: 1\n",
          "a: 1\n---\n",
          "a: 1\n---\n# end\n...\n",
          "a: |\n  ---\n  b\n",
          "a: 1\n----: 2\n"}) {
        const auto document = read_document(text);
        ASSERT_TRUE(document) << text;
        EXPECT_FALSE(document->more_follow) << text;
    }
}

TEST(Document, DamagedTextEnds) {
    // yaml-cpp's LoadAll goes on for ever here.
    EXPECT_TRUE(read_document("&k\\e\xff\xff\xff\xff,\nioritizeV\xff\xff\xff\xffnd: e&kff\"\n").ok()
    );
}

TEST(Document, AnchorsAreFollowed) {
    const Node root = read("a: &x {b: 1}\nc: *x\n");
    EXPECT_EQ(root.find("c")->find("b")->as_integer(), 1);
}

}  // namespace
}  // namespace egpu::cli
