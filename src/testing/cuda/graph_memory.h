// What launching a graph needs of graph_memory.cpp. Under Driver::mutex.
#pragma once

#include <memory>

#include "testing/cuda/graph.h"

namespace egpu::testing::cuda {

bool graph_memory_allocated(std::uint64_t address);
CUresult allocate_graph_memory(const std::shared_ptr<GraphPiece>& piece);
// Room for what a graph allocates and frees by itself; false when the card has none.
bool reserve_graph_memory(Device& device, std::uint64_t whole);

}  // namespace egpu::testing::cuda
