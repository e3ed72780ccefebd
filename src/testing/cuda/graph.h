// Graphs, what can be put on a stream or into a graph, and graphs made executable.
//
// Nodes of a graph run one after another, in an order that respects their dependencies: branches do
// not run beside each other. All under the engine's mutex.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "testing/cuda/copy_abi.h"
#include "testing/cuda/engine.h"
#include "testing/cuda/modules.h"

namespace egpu::testing::cuda {

// Addresses of a graph's allocation node; given back with the last node that names them.
struct GraphPiece {
    Device* device = nullptr;
    std::uint64_t address = 0;
    std::uint64_t size = 0;   // asked for
    std::uint64_t whole = 0;  // charged
};

// One piece of work.
struct Task {
    CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
    SmKernel kernel;  // kernels; cost_ns of copies
    CopyEngine engine = CopyEngine::kToDevice;
    std::function<void()> work;         // of copies, memsets, host functions
    Event* event = nullptr;             // of records and waits
    struct Graph* child = nullptr;      // a graph of its own, the node's
    std::shared_ptr<GraphPiece> piece;  // of an allocation
    std::uint64_t address = 0;          // of a free
    CUDA_KERNEL_NODE_PARAMS kernel_params{};
    CUDA_MEM_ALLOC_NODE_PARAMS alloc_params{};
    CUDA_MEMCPY3D copy_params{};
    CUDA_MEMSET_NODE_PARAMS memset_params{};
    void (*host_function)(void*) = nullptr;
    void* host_data = nullptr;
    bool enabled = true;
};

struct Graph;

struct Node {
    static constexpr std::uint32_t kLive = 0x45444F4E;
    std::uint32_t live = 0;
    Graph* graph = nullptr;
    Task task;
    std::vector<Node*> dependencies;
};

struct Graph {
    static constexpr std::uint32_t kLive = 0x48505247;
    std::uint32_t live = 0;
    std::vector<Node*> nodes;
};

inline constexpr CUgraphNodeType kWaitEventNode = 6;
inline constexpr CUgraphNodeType kEventRecordNode = 7;

Graph* graph_of(CUgraph handle);
Node* node_of(CUgraphNode handle);
Graph* make_graph();
void destroy_graph(Graph* graph);
CUresult add_node(Graph* graph, const std::vector<Node*>& dependencies, Task task, Node*& out);
// A copy, and the copy of each node.
Graph* clone_graph(const Graph* graph, std::map<const Node*, Node*>* copies = nullptr);
// False when there is a cycle.
bool ordered(const Graph& graph, std::vector<Node*>& out);

// graph_memory.cpp
CUresult make_piece(Device& device, std::uint64_t size, std::shared_ptr<GraphPiece>& out);

// Enqueues or captures. With `wait`, returns when it is done (never captured).
CUresult run_task(Stream* stream, Task task, bool wait = false);
// The operation that a task is on a stream (kernels, copies, host functions).
Operation operation_of(Task task);

// launch.cpp
CUresult kernel_task(Context* context, const void* function, const Launch& launch, Task& out);
// copies.cpp
CUresult copy_task(const CUDA_MEMCPY3D& copy, bool checked, Task& out);
CUresult memset_task(const CUDA_MEMSET_NODE_PARAMS& params, bool checked, Task& out);

}  // namespace egpu::testing::cuda
