// An executable graph: the work of its nodes in order. Under the engine's mutex.
#pragma once

#include "testing/cuda/graph.h"

namespace egpu::testing::cuda {

struct Exec {
    static constexpr std::uint32_t kLive = 0x43455845;
    std::uint32_t live = 0;
    std::uint64_t flags = 0;
    std::vector<Task> tasks;
    std::map<const Node*, std::size_t> index;  // of the graph's nodes in `tasks`
    // The last launch.
    Stream* last = nullptr;
    std::uint64_t last_id = 0;
    std::uint64_t last_position = 0;
};

Exec* exec_of(CUgraphExec handle);  // null: not a live one

// events.cpp
void enqueue_record(std::unique_lock<std::mutex>& lock, Stream* stream, Event* event);
void enqueue_wait(std::unique_lock<std::mutex>& lock, Stream* stream, Event* event);
Event* event_of(CUevent handle);

}  // namespace egpu::testing::cuda
