#include "agent/state_file.h"

#include <csignal>
#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/files.h"
#include "base/random.h"
#include "testing/temp_folder.h"

namespace egpu::agent {
namespace {

using ::testing::HasSubstr;

class StateFileTest : public ::testing::Test {
  protected:
    void put(const std::filesystem::path& path, std::string_view text) {
        std::ofstream(path, std::ios::binary) << text;
    }

    testing::TempFolder folder;
};

NodeState state_of(int records) {
    NodeState state;
    state.cards.push_back({"GPU-0", 0, "Tesla T4", 15360, -1, true});
    state.cards.push_back({"GPU-1", 1, "Tesla \"T4\"\n", 15360, 1, false});
    for (int i = 0; i < records; ++i) {
        Record record;
        record.token = "token-" + std::to_string(i);
        record.ids = {unit_id("GPU-0", 0), unit_id("GPU-0", 1)};
        record.cards = {{"GPU-1", 1, 2, 512}};
        record.group = "u" + std::to_string(i);
        record.holder = {record.group, "ns", "pod", "main", core::ContainerKind::kSidecar, true};
        record.time = 1'700'000'000 + i;
        record.guarded = i % 2 == 0;
        state.records.push_back(record);
    }
    return state;
}

TEST_F(StateFileTest, FirstStartIsEmpty) {
    StateFile file(folder / "new");
    const auto loaded = file.load();
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->source, StateSource::kNone);
    EXPECT_EQ(loaded->note, "");
}

TEST_F(StateFileTest, RoundTrip) {
    StateFile file(folder.path());
    ASSERT_TRUE(file.save(1, state_of(1)));
    ASSERT_TRUE(file.save(3, state_of(3)));
    ASSERT_TRUE(file.save(2, state_of(2)));  // older: skipped
    StateFile again(folder.path());
    const auto loaded = again.load();
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->source, StateSource::kCurrent);
    EXPECT_EQ(loaded->state, state_of(3));
}

// Every length a torn write can leave, with and without a previous file.
TEST_F(StateFileTest, TornAtEveryByte) {
    const std::string text = encode_state(state_of(2));
    for (std::size_t length = 0; length < text.size(); ++length) {
        StateFile file(folder.path());
        put(file.path(), text.substr(0, length));
        put(file.previous_path(), encode_state(state_of(1)));
        const auto loaded = file.load();
        ASSERT_TRUE(loaded);
        ASSERT_EQ(loaded->source, StateSource::kPrevious) << length;
        ASSERT_EQ(loaded->state, state_of(1));
        ASSERT_TRUE(std::filesystem::exists(file.corrupt_path()));
        ASSERT_FALSE(std::filesystem::exists(file.path()));
    }
}

TEST_F(StateFileTest, EveryFlippedByteIsNoticed) {
    const std::string text = encode_state(state_of(2));
    for (std::size_t at = 0; at < text.size(); ++at) {
        std::string bad = text;
        bad[at] = static_cast<char>(bad[at] ^ 0x04);
        const auto decoded = decode_state(bad);
        ASSERT_FALSE(decoded && !(*decoded == state_of(2))) << at;
    }
}

TEST_F(StateFileTest, WhatACrashBetweenTheStepsLeaves) {
    StateFile file(folder.path());
    ASSERT_TRUE(file.save(1, state_of(1)));
    ASSERT_TRUE(file.save(2, state_of(2)));
    // After the unlink of the previous file.
    std::filesystem::remove(file.previous_path());
    EXPECT_EQ(StateFile(folder.path()).load()->state, state_of(2));
    // After the link: both names are one file.
    std::filesystem::create_hard_link(file.path(), file.previous_path());
    EXPECT_EQ(StateFile(folder.path()).load()->state, state_of(2));
    // A temporary file that was never renamed.
    put(folder / "agent-state.json.tmp123", "{\"format\":");
    EXPECT_EQ(StateFile(folder.path()).load()->state, state_of(2));
}

TEST_F(StateFileTest, BothCorruptIsLostNotFatal) {
    StateFile file(folder.path());
    put(file.path(), "garbage");
    put(file.previous_path(), "");
    const auto loaded = file.load();
    ASSERT_TRUE(loaded);
    EXPECT_EQ(loaded->source, StateSource::kLost);
    EXPECT_THAT(loaded->note, HasSubstr("moved to"));
    EXPECT_EQ(*read_file(file.corrupt_path()), "garbage");
}

// As a bad sector does: it is there and cannot be read.
TEST_F(StateFileTest, UnreadableIsLostNotFatal) {
    StateFile file(folder.path());
    std::filesystem::create_symlink("/proc/self/mem", file.path());  // EIO at its begin
    put(file.previous_path(), encode_state(state_of(1)));
    const auto loaded = file.load();
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_EQ(loaded->source, StateSource::kPrevious);
    EXPECT_EQ(loaded->state, state_of(1));
    EXPECT_THAT(loaded->note, HasSubstr("moved to"));
    EXPECT_TRUE(file.save(1, state_of(2)));
    EXPECT_EQ(StateFile(folder.path()).load()->state, state_of(2));
}

TEST_F(StateFileTest, LaterVersionIsMovedAside) {
    std::string text = encode_state(state_of(1));
    text.replace(text.find("\"version\":1"), 11, "\"version\":2");
    const auto decoded = decode_state(text);
    ASSERT_FALSE(decoded);
    EXPECT_THAT(decoded.error().message, HasSubstr("version 2"));
}

TEST_F(StateFileTest, FolderThatIsAFileIsAnError) {
    put(folder / "file", "");
    EXPECT_FALSE(StateFile(folder / "file").load());
}

// A real process, killed while it writes: what it acknowledged is there afterwards.
TEST_F(StateFileTest, KilledWhileWriting) {
    Random random(7);
    std::uint64_t sequence = 0;
    for (int round = 0; round < 25; ++round) {
        int pipe_fds[2];
        ASSERT_EQ(::pipe(pipe_fds), 0);
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            StateFile file(folder.path());
            for (std::uint64_t i = sequence + 1;; ++i) {
                NodeState state = state_of(static_cast<int>(i % 7));
                state.cards.front().memory_mib = static_cast<std::int64_t>(i);
                if (!file.save(i, state)) ::_exit(1);
                if (::write(pipe_fds[1], &i, sizeof i) != sizeof i) ::_exit(1);
            }
        }
        ::close(pipe_fds[1]);
        std::uint64_t acknowledged = 0;
        if (round % 2 == 0) {  // some rounds get somewhere, however slow the machine is
            ASSERT_EQ(::read(pipe_fds[0], &acknowledged, sizeof acknowledged), 8);
        }
        ::usleep(static_cast<useconds_t>(random.between(2'000, 12'000)));
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        while (::read(pipe_fds[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged) {
        }
        ::close(pipe_fds[0]);
        const auto loaded = StateFile(folder.path()).load();
        ASSERT_TRUE(loaded);
        if (acknowledged == 0) continue;
        ASSERT_EQ(loaded->source, StateSource::kCurrent) << loaded->note;
        ASSERT_GE(loaded->state.cards.front().memory_mib, static_cast<std::int64_t>(acknowledged));
        sequence = static_cast<std::uint64_t>(loaded->state.cards.front().memory_mib);
    }
    EXPECT_GT(sequence, 10U);
}

}  // namespace
}  // namespace egpu::agent
