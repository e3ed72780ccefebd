#include "inspect/table.h"

#include <gtest/gtest.h>

namespace egpu::inspect {
namespace {

Table sample() {
    Table table({{"NAME", false, true}, {"N", true, false}});
    table.row({"a-rather-long-name", "1"});
    table.row({"b\x1b[31m", "23"});
    return table;
}

TEST(Table, aligns_and_lets_nothing_steer_the_terminal) {
    EXPECT_EQ(
        sample().text(0),
        "NAME                 N\n"
        "a-rather-long-name   1\n"
        "b [31m              23\n"
    );
}

TEST(Table, fits_a_narrow_terminal) {
    EXPECT_EQ(
        sample().text(16),
        "NAME           N\n"
        "a-rather-lo\xE2\x80\xA6   1\n"
        "b [31m        23\n"
    );
    EXPECT_EQ(sample().text(1), sample().text(12));  // eight columns stay
}

TEST(Table, cuts_between_characters) {
    Table table({{"X", false, true}});
    table.row({"\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9"});
    EXPECT_EQ(
        table.text(8), "X\n\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\xE2\x80\xA6\n"
    );
}

TEST(Wrapped, words_stay_whole) {
    EXPECT_EQ(
        wrapped("one two three four five six seven", 24, 2),
        "  one two three four\n  five six seven\n"
    );
    EXPECT_EQ(wrapped("one two", 0, 0), "one two\n");
    EXPECT_EQ(wrapped("", 10, 0), "\n");
}

}  // namespace
}  // namespace egpu::inspect
