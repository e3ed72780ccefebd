// Executable graphs: the memory their allocation nodes take when they are launched, and the launch
// itself.
#include "guard/compute_hooks.h"
#include "guard/pools.h"
#include "guard/scratch.h"

namespace egpu::guard {
namespace {

using namespace egpu::cuda;

constexpr std::uint64_t kNodeRounding = std::uint64_t{2} << 20U;
constexpr std::size_t kMaxNodes = 1U << 16U;
constexpr int kMaxDepth = 8;

// What is kept as the owner of an executable graph: its card, and how often graph memory had been
// trimmed there, + 1, when it was launched last.
constexpr std::uint32_t kNeverLaunched = 0;
constexpr std::uint64_t exec_note(CUdevice device, std::uint32_t trims) {
    return std::uint64_t{trims} << 32U | static_cast<std::uint32_t>(device);
}

struct GraphMemoryNeed {
    std::uint64_t bytes = 0;
    CUdevice device = -1;
};

// What the allocation nodes of a graph and of its child graphs add up to. Nodes that give memory
// back do not lower it: how the driver overlaps them is not known. Large graphs are read in parts
// of the stack's size.
void add_need(CUgraph graph, GraphMemoryNeed& need, int depth);

void add_node(CUgraphNode node, GraphMemoryNeed& need, int depth) {
    int type = -1;
    if (driver.GraphNodeGetType(node, &type) != CUDA_SUCCESS) return;
    if (type == CU_GRAPH_NODE_TYPE_GRAPH) {
        CUgraph child = nullptr;
        if (driver.GraphChildGraphNodeGetGraph(node, &child) == CUDA_SUCCESS)
            add_need(child, need, depth + 1);
        return;
    }
    if (type != CU_GRAPH_NODE_TYPE_MEM_ALLOC) return;
    CUDA_MEM_ALLOC_NODE_PARAMS params{};
    if (driver.GraphMemAllocNodeGetParams(node, &params) != CUDA_SUCCESS) return;
    if (params.poolProps.location.type != CU_MEM_LOCATION_TYPE_DEVICE) return;
    if (need.device < 0) need.device = params.poolProps.location.id;
    const std::uint64_t bytes =
        (params.bytesize + kNodeRounding - 1) / kNodeRounding * kNodeRounding;
    need.bytes = need.bytes > kUnlimited / 2 - bytes ? kUnlimited / 2 : need.bytes + bytes;
}

void add_need(CUgraph graph, GraphMemoryNeed& need, int depth) {
    std::size_t count = 0;
    if (depth > kMaxDepth || driver.GraphGetNodes(graph, nullptr, &count) != CUDA_SUCCESS ||
        count == 0)
        return;
    if (count > kMaxNodes) count = kMaxNodes;
    constexpr std::size_t kOnStack = 128;
    CUgraphNode few[kOnStack];
    CUgraphNode* nodes = few;
    Scratch more(count > kOnStack ? count * sizeof(CUgraphNode) : 0);
    if (count > kOnStack) {
        nodes = static_cast<CUgraphNode*>(more.memory());
        if (nodes == nullptr) return;
    }
    if (driver.GraphGetNodes(graph, nodes, &count) != CUDA_SUCCESS) return;
    for (std::size_t i = 0; i < count; ++i) add_node(nodes[i], need, depth);
}

void remember(CUgraphExec exec, CUgraph graph) {
    GraphMemoryNeed need;
    add_need(graph, need, 0);
    if (need.bytes == 0) return;
    Block block;
    block.key = reinterpret_cast<std::uint64_t>(exec);
    block.size = need.bytes;
    block.owner = exec_note(need.device, kNeverLaunched);
    block.kind = BlockKind::exec;
    Block replaced;
    if (guard.objects.insert(block, replaced)) settle_replaced(replaced);
}

void forget(CUgraphExec exec) {
    Block block;
    const auto is_exec = [](Block& there, void*) { return there.kind == BlockKind::exec; };
    guard.objects.update(reinterpret_cast<std::uint64_t>(exec), is_exec, nullptr, block);
}

template <class Call>
CUresult instantiated(CUgraphExec* exec, CUgraph graph, Call call) {
    EGPU_UNLESS_ACTIVE(call());
    const CUresult result = call();
    if (result == CUDA_SUCCESS && exec != nullptr) remember(*exec, graph);
    return result;
}

struct GraphLaunch {
    CUgraphExec exec;
    CUstream stream;
    Null null;
    HookId id;
    bool is_launch;
};

CUresult make(void* context) {
    using Call = CUresult (*)(CUgraphExec, CUstream);
    const auto& what = *static_cast<GraphLaunch*>(context);
    const auto real = real_as<Call>(what.id);
    if (!what.is_launch) return real(what.exec, what.stream);
    const Launch launch{what.exec, {1, 1, 1}, {1, 1, 1}, stream_or_default(what.stream, what.null)};
    return paced(launch, [&] { return real(what.exec, what.stream); });
}

CUresult with_memory(GraphLaunch what) {
    EGPU_UNLESS_ACTIVE(make(&what));
    Block block;
    const auto key = reinterpret_cast<std::uint64_t>(what.exec);
    if (!guard.objects.find(key, block) || block.kind != BlockKind::exec) return make(&what);
    const auto device = static_cast<CUdevice>(block.owner & 0xffffffffU);
    // Since its last launch nothing was trimmed: it still has its memory.
    if (block.owner == exec_note(device, graph_trims(device) + 1)) return make(&what);
    const CUresult result = with_graph_memory(
        device, block.size, what.stream, static_cast<unsigned>(what.null), make, &what
    );
    if (result == CUDA_SUCCESS) {
        std::uint64_t note = exec_note(device, graph_trims(device) + 1);
        guard.objects.update(
            key,
            [](Block& there, void* value) {
                if (there.kind == BlockKind::exec)
                    there.owner = *static_cast<std::uint64_t*>(value);
                return false;
            },
            &note,
            block
        );
    }
    return result;
}

}  // namespace
}  // namespace egpu::guard

using namespace egpu::guard;
using namespace egpu::cuda;

EGPU_EXPORT CUresult cuGraphInstantiate(
    CUgraphExec* exec, CUgraph graph, CUgraphNode* error, char* log, std::size_t size
) {
    return instantiated(exec, graph, [&] {
        return EGPU_REAL(cuGraphInstantiate)(exec, graph, error, log, size);
    });
}
EGPU_EXPORT CUresult cuGraphInstantiate_v2(
    CUgraphExec* exec, CUgraph graph, CUgraphNode* error, char* log, std::size_t size
) {
    return instantiated(exec, graph, [&] {
        return EGPU_REAL(cuGraphInstantiate_v2)(exec, graph, error, log, size);
    });
}
EGPU_EXPORT CUresult
cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long flags) {
    return instantiated(exec, graph, [&] {
        return EGPU_REAL(cuGraphInstantiateWithFlags)(exec, graph, flags);
    });
}
// With flags that ask for it these upload as well, which takes the memory at once: known a moment
// later, by the next refresh of the graph memory's charge.
EGPU_EXPORT CUresult cuGraphInstantiateWithParams(
    CUgraphExec* exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* params
) {
    return instantiated(exec, graph, [&] {
        return EGPU_REAL(cuGraphInstantiateWithParams)(exec, graph, params);
    });
}
EGPU_EXPORT CUresult cuGraphInstantiateWithParams_ptsz(
    CUgraphExec* exec, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* params
) {
    return instantiated(exec, graph, [&] {
        return EGPU_REAL(cuGraphInstantiateWithParams_ptsz)(exec, graph, params);
    });
}
EGPU_EXPORT CUresult cuGraphExecDestroy(CUgraphExec exec) {
    EGPU_UNLESS_ACTIVE(EGPU_REAL(cuGraphExecDestroy)(exec));
    forget(exec);
    compute_graph_gone(exec);
    return EGPU_REAL(cuGraphExecDestroy)(exec);
}
EGPU_EXPORT CUresult cuGraphUpload(CUgraphExec exec, CUstream stream) {
    return with_memory({exec, stream, Null::legacy, HookId::cuGraphUpload, false});
}
EGPU_EXPORT CUresult cuGraphUpload_ptsz(CUgraphExec exec, CUstream stream) {
    return with_memory({exec, stream, Null::per_thread, HookId::cuGraphUpload_ptsz, false});
}
EGPU_EXPORT CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
    return with_memory({exec, stream, Null::legacy, HookId::cuGraphLaunch, true});
}
EGPU_EXPORT CUresult cuGraphLaunch_ptsz(CUgraphExec exec, CUstream stream) {
    return with_memory({exec, stream, Null::per_thread, HookId::cuGraphLaunch_ptsz, true});
}

#define EGPU_BEGIN_CAPTURE(name, parameters, arguments)     \
    EGPU_EXPORT CUresult name parameters {                  \
        compute_capture(true);                              \
        const CUresult result = EGPU_REAL(name) arguments;  \
        if (result != CUDA_SUCCESS) compute_capture(false); \
        return result;                                      \
    }
EGPU_BEGIN_CAPTURE(cuStreamBeginCapture, (CUstream s), (s))
EGPU_BEGIN_CAPTURE(cuStreamBeginCapture_ptsz, (CUstream s), (s))
EGPU_BEGIN_CAPTURE(cuStreamBeginCapture_v2, (CUstream s, int mode), (s, mode))
EGPU_BEGIN_CAPTURE(cuStreamBeginCapture_v2_ptsz, (CUstream s, int mode), (s, mode))
EGPU_BEGIN_CAPTURE(
    cuStreamBeginCaptureToGraph,
    (CUstream s, CUgraph g, const CUgraphNode* n, const void* d, std::size_t c, int mode),
    (s, g, n, d, c, mode)
)
EGPU_BEGIN_CAPTURE(
    cuStreamBeginCaptureToGraph_ptsz,
    (CUstream s, CUgraph g, const CUgraphNode* n, const void* d, std::size_t c, int mode),
    (s, g, n, d, c, mode)
)

namespace egpu::guard {
namespace {

// Only what began can end: the call may be wrong, for its stream or for its thread.
template <class Call>
CUresult end_capture(CUstream stream, Null null, Call call) {
    EGPU_UNLESS_ACTIVE(call());
    const bool captured = capture_of(stream, null) == Capture::active;
    const CUresult result = call();
    if (captured && capture_of(stream, null) == Capture::none) compute_capture(false);
    return result;
}

}  // namespace
}  // namespace egpu::guard

EGPU_EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
    return end_capture(stream, Null::legacy, [&] {
        return EGPU_REAL(cuStreamEndCapture)(stream, graph);
    });
}
EGPU_EXPORT CUresult cuStreamEndCapture_ptsz(CUstream stream, CUgraph* graph) {
    return end_capture(stream, Null::per_thread, [&] {
        return EGPU_REAL(cuStreamEndCapture_ptsz)(stream, graph);
    });
}
