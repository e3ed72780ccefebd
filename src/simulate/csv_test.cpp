#include "simulate/csv.h"

#include <gtest/gtest.h>

namespace egpu::simulate {
namespace {

CsvTable parsed(std::string_view text) {
    auto table = CsvTable::parse("t.csv", text);
    EXPECT_TRUE(table.ok()) << (table.ok() ? "" : table.error().message);
    return std::move(*table);
}

std::string refused(std::string_view text) {
    const auto table = CsvTable::parse("t.csv", text);
    return table.ok() ? "accepted" : table.error().message;
}

TEST(Csv, ReadsByHeader) {
    const CsvTable table = parsed(
        "\xEF\xBB\xBF"
        "name,cpu\r\na,1\r\n\r\n\"b, \"\"c\"\"\n\",2"
    );
    ASSERT_EQ(table.size(), 2u);
    EXPECT_EQ(table[0].text(table.column("name")), "a");
    EXPECT_EQ(table[1].text(table.column("name")), "b, \"c\"\n");
    EXPECT_EQ(*table[1].number(table.column("cpu"), 0, 9), 2);
    EXPECT_EQ(table[0].line(), 2u);
    EXPECT_EQ(table[1].line(), 4u);
    EXPECT_EQ(table[0].text(table.column("memory")), "");
}

TEST(Csv, SaysWhatIsWrongAndWhere) {
    EXPECT_EQ(refused(""), "t.csv: empty; a line with the columns' names is missing");
    EXPECT_EQ(refused("a,b\n1,2\n1\n"), "t.csv:3: 1 fields, but the header has 2");
    EXPECT_EQ(refused("a,b\n1,2,3\n"), "t.csv:2: 3 fields, but the header has 2");
    EXPECT_EQ(refused("a,a\n"), "t.csv:1: two columns are called \"a\"");
    EXPECT_EQ(refused("a\n\"x\ny\n"), "t.csv:2: a quote is opened here and never closed");
    EXPECT_EQ(refused("a,b\n1,x\"y\n"), "t.csv:2: a quote in the middle of field 2");
    EXPECT_EQ(refused("a,b\n\"1\"2,3\n"), "t.csv:2: text behind the quotes of field 1");
    EXPECT_EQ(refused("a,b\n1,\"\" \n"), "t.csv:2: text behind the quotes of field 2");
}

TEST(Csv, NumbersAreWholeAndInRange) {
    const CsvTable table = parsed("a,b\n12,\n-1,1.5\n99999999999999999999, 3\n");
    const auto a = table.column("a");
    const auto b = table.column("b");
    EXPECT_EQ(*table[0].number(a, 0, 100), 12);
    EXPECT_EQ(*table[0].number(b, 0, 100, 7), 7);
    EXPECT_EQ(*table[0].number(table.column("c"), 0, 100, 5), 5);
    const auto message = [&](std::size_t row, std::optional<std::size_t> column) {
        const auto number = table[row].number(column, 0, 100);
        return number.ok() ? "accepted" : number.error().message;
    };
    EXPECT_EQ(message(0, b), "t.csv:2: column b: \"\" is not a whole number from 0 to 100");
    EXPECT_EQ(message(1, a), "t.csv:3: column a: \"-1\" is not a whole number from 0 to 100");
    EXPECT_EQ(message(1, b), "t.csv:3: column b: \"1.5\" is not a whole number from 0 to 100");
    EXPECT_EQ(
        message(2, a),
        "t.csv:4: column a: \"99999999999999999999\" is not a whole number from 0 to 100"
    );
    EXPECT_NE(message(2, b), "accepted");
}

TEST(Csv, NamesTheColumnsThereAre) {
    const CsvTable table = parsed("a,b\n");
    EXPECT_EQ(table.size(), 0u);
    EXPECT_EQ(
        table.required_column("sn").error().message, "t.csv:1: no column \"sn\"; there are a, b"
    );
}

}  // namespace
}  // namespace egpu::simulate
