// Nodes of each kind: added to a graph, asked for what they do, changed.
#include <cstring>

#include "testing/cuda/graph_exec.h"

namespace egpu::testing::cuda {
namespace {

CUresult list_of(const CUgraphNode* handles, std::size_t count, std::vector<Node*>& out) {
    REQUIRE(count == 0 || handles != nullptr);
    for (std::size_t i = 0; i < count; ++i) {
        Node* node = node_of(handles[i]);
        REQUIRE(node != nullptr);
        out.push_back(node);
    }
    return CUDA_SUCCESS;
}

CUresult add(
    CUgraphNode* out, CUgraph handle, const CUgraphNode* before, std::size_t count, Task task
) {
    REQUIRE(out != nullptr);
    const std::lock_guard lock(engine().mutex);
    Graph* graph = graph_of(handle);
    REQUIRE(graph != nullptr);
    std::vector<Node*> dependencies;
    if (const CUresult result = list_of(before, count, dependencies); result != CUDA_SUCCESS)
        return result;
    Node* node = nullptr;
    const CUresult result = add_node(graph, dependencies, std::move(task), node);
    if (result == CUDA_SUCCESS) *out = reinterpret_cast<CUgraphNode>(node);
    return result;
}

CUDA_KERNEL_NODE_PARAMS widened(const CUDA_KERNEL_NODE_PARAMS_v1& p) {
    CUDA_KERNEL_NODE_PARAMS wide{};
    std::memcpy(&wide, &p, sizeof p);
    return wide;
}

CUresult kernel(const CUDA_KERNEL_NODE_PARAMS& p, Task& out) {
    CUresult result = CUDA_SUCCESS;
    Context* context =
        p.ctx != nullptr ? reinterpret_cast<Context*>(p.ctx) : current_context(result);
    if (!is_live(context)) return CUDA_ERROR_INVALID_CONTEXT;
    const Launch launch{
        {p.gridDimX, p.gridDimY, p.gridDimZ},
        {p.blockDimX, p.blockDimY, p.blockDimZ},
        p.sharedMemBytes,
        p.kernelParams,
        p.extra};
    const void* function = p.func != nullptr ? static_cast<const void*>(p.func) : p.kern;
    result = kernel_task(context, function, launch, out);
    // The parameters' values are taken now; nobody may follow the caller's pointers later.
    out.kernel_params = p;
    out.kernel_params.kernelParams = nullptr;
    out.kernel_params.extra = nullptr;
    return result;
}

CUresult add_kernel(
    CUgraphNode* out,
    CUgraph graph,
    const CUgraphNode* before,
    std::size_t count,
    const CUDA_KERNEL_NODE_PARAMS& p
) {
    Task task;
    if (const CUresult result = kernel(p, task); result != CUDA_SUCCESS) return result;
    return add(out, graph, before, count, std::move(task));
}

CUresult set_kernel(Task& task, const CUDA_KERNEL_NODE_PARAMS& p) {
    Task made;
    if (const CUresult result = kernel(p, made); result != CUDA_SUCCESS) return result;
    made.enabled = task.enabled;
    task = std::move(made);
    return CUDA_SUCCESS;
}

// The task of a node of one kind; null: it is of another. Under the mutex.
Task* task_of(CUgraphNode handle, CUgraphNodeType type) {
    Node* node = node_of(handle);
    return node != nullptr && node->task.type == type ? &node->task : nullptr;
}

Task* exec_task(CUgraphExec handle, CUgraphNode node_handle) {
    Exec* exec = exec_of(handle);
    if (exec == nullptr) return nullptr;
    // The node may be gone; the number that it had in the graph is not.
    const auto found = exec->index.find(reinterpret_cast<const Node*>(node_handle));
    return found == exec->index.end() ? nullptr : &exec->tasks[found->second];
}

CUresult alloc(CUDA_MEM_ALLOC_NODE_PARAMS& params, Task& task) {
    REQUIRE(params.poolProps.location.type == CU_MEM_LOCATION_TYPE_DEVICE);
    DEVICE(device, params.poolProps.location.id);
    const std::lock_guard lock(driver().mutex);
    task.type = CU_GRAPH_NODE_TYPE_MEM_ALLOC;
    if (const CUresult result = make_piece(*device, params.bytesize, task.piece);
        result != CUDA_SUCCESS) {
        return result;
    }
    params.dptr = task.piece->address;
    task.alloc_params = params;
    task.alloc_params.accessDescs = nullptr;
    task.alloc_params.accessDescCount = 0;
    return CUDA_SUCCESS;
}

CUresult host(void (*function)(void*), void* data, Task& task) {
    REQUIRE(function != nullptr);
    task.type = CU_GRAPH_NODE_TYPE_HOST;
    task.host_function = function;
    task.host_data = data;
    task.work = [function, data] { function(data); };
    return CUDA_SUCCESS;
}

CUresult event(CUgraphNodeType type, CUevent handle, Task& task) {
    task.type = type;
    task.event = event_of(handle);
    return task.event != nullptr ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult child(CUgraph handle, Task& task) {
    const std::lock_guard lock(engine().mutex);
    const Graph* graph = graph_of(handle);
    REQUIRE(graph != nullptr);
    task.type = CU_GRAPH_NODE_TYPE_GRAPH;
    task.child = clone_graph(graph);
    return CUDA_SUCCESS;
}

struct CopyParams {
    int flags;
    int reserved;
    CUcontext context;
    CUDA_MEMCPY3D copy;
};
static_assert(sizeof(CopyParams) == 216 && offsetof(CopyParams, copy) == 16);

struct HostParams {
    void (*fn)(void*);
    void* userData;
};

// cuGraphAddNode's description.
struct NodeParams {
    CUgraphNodeType type;
    int reserved0[3];
    union {
        long long reserved1[29];
        CUDA_KERNEL_NODE_PARAMS kernel;
        CopyParams memcpy;
        CUDA_MEMSET_NODE_PARAMS memset;
        HostParams host;
        CUgraph graph;
        CUevent event;
        CUDA_MEM_ALLOC_NODE_PARAMS alloc;
        CUdeviceptr free;
    };
    long long reserved2;
};
static_assert(sizeof(NodeParams) == 256 && offsetof(NodeParams, kernel) == 16);

CUresult task_from(NodeParams& params, Task& task) {
    switch (params.type) {
        case CU_GRAPH_NODE_TYPE_KERNEL:
            return kernel(params.kernel, task);
        case CU_GRAPH_NODE_TYPE_MEMCPY:
            return copy_task(params.memcpy.copy, false, task);
        case CU_GRAPH_NODE_TYPE_MEMSET:
            return memset_task(params.memset, false, task);
        case CU_GRAPH_NODE_TYPE_HOST:
            return host(params.host.fn, params.host.userData, task);
        case CU_GRAPH_NODE_TYPE_GRAPH:
            return child(params.graph, task);
        case CU_GRAPH_NODE_TYPE_EMPTY:
            return CUDA_SUCCESS;
        case kWaitEventNode:
        case kEventRecordNode:
            return event(params.type, params.event, task);
        case CU_GRAPH_NODE_TYPE_MEM_ALLOC:
            return alloc(params.alloc, task);
        case CU_GRAPH_NODE_TYPE_MEM_FREE:
            task.type = params.type;
            task.address = params.free;
            return CUDA_SUCCESS;
        default:
            return CUDA_ERROR_NOT_SUPPORTED;
    }
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

#define BEFORE CUgraphNode *out, CUgraph graph, const CUgraphNode *before, std::size_t count
#define ADD(made)                                                            \
    Task task;                                                               \
    if (const CUresult result = made; result != CUDA_SUCCESS) return result; \
    return add(out, graph, before, count, std::move(task))
#define TASK(name, found)                       \
    const std::lock_guard lock(engine().mutex); \
    Task* name = found;                         \
    REQUIRE(name != nullptr)

CU(cuGraphAddKernelNode)(BEFORE, const CUDA_KERNEL_NODE_PARAMS_v1* params) {
    ENTER();
    REQUIRE(params != nullptr);
    return add_kernel(out, graph, before, count, widened(*params));
}
CU(cuGraphAddKernelNode_v2)(BEFORE, const CUDA_KERNEL_NODE_PARAMS* params) {
    ENTER();
    REQUIRE(params != nullptr);
    return add_kernel(out, graph, before, count, *params);
}
CU(cuGraphKernelNodeGetParams)(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS_v1* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_KERNEL));
    std::memcpy(params, &task->kernel_params, sizeof *params);
    return CUDA_SUCCESS;
}
CU(cuGraphKernelNodeGetParams_v2)(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_KERNEL));
    *params = task->kernel_params;
    return CUDA_SUCCESS;
}
CU(cuGraphKernelNodeSetParams)(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_KERNEL));
    return set_kernel(*task, widened(*params));
}
CU(cuGraphKernelNodeSetParams_v2)(CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_KERNEL));
    return set_kernel(*task, *params);
}
CU(cuGraphExecKernelNodeSetParams)
(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS_v1* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, exec_task(exec, node));
    REQUIRE(task->type == CU_GRAPH_NODE_TYPE_KERNEL);
    return set_kernel(*task, widened(*params));
}
CU(cuGraphExecKernelNodeSetParams_v2)
(CUgraphExec exec, CUgraphNode node, const CUDA_KERNEL_NODE_PARAMS* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, exec_task(exec, node));
    REQUIRE(task->type == CU_GRAPH_NODE_TYPE_KERNEL);
    return set_kernel(*task, *params);
}
CU(cuGraphAddMemcpyNode)(BEFORE, const CUDA_MEMCPY3D* copy, CUcontext) {
    ENTER();
    REQUIRE(copy != nullptr);
    ADD(copy_task(*copy, false, task));
}
CU(cuGraphMemcpyNodeGetParams)(CUgraphNode node, CUDA_MEMCPY3D* copy) {
    ENTER();
    REQUIRE(copy != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_MEMCPY));
    *copy = task->copy_params;
    return CUDA_SUCCESS;
}
CU(cuGraphMemcpyNodeSetParams)(CUgraphNode node, const CUDA_MEMCPY3D* copy) {
    ENTER();
    REQUIRE(copy != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_MEMCPY));
    return copy_task(*copy, false, *task);
}
CU(cuGraphExecMemcpyNodeSetParams)
(CUgraphExec exec, CUgraphNode node, const CUDA_MEMCPY3D* copy, CUcontext) {
    ENTER();
    REQUIRE(copy != nullptr);
    TASK(task, exec_task(exec, node));
    REQUIRE(task->type == CU_GRAPH_NODE_TYPE_MEMCPY);
    return copy_task(*copy, false, *task);
}
CU(cuGraphAddMemsetNode)(BEFORE, const CUDA_MEMSET_NODE_PARAMS* params, CUcontext) {
    ENTER();
    REQUIRE(params != nullptr);
    ADD(memset_task(*params, false, task));
}
CU(cuGraphMemsetNodeGetParams)(CUgraphNode node, CUDA_MEMSET_NODE_PARAMS* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_MEMSET));
    *params = task->memset_params;
    return CUDA_SUCCESS;
}
CU(cuGraphMemsetNodeSetParams)(CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_MEMSET));
    return memset_task(*params, false, *task);
}
CU(cuGraphExecMemsetNodeSetParams)
(CUgraphExec exec, CUgraphNode node, const CUDA_MEMSET_NODE_PARAMS* params, CUcontext) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, exec_task(exec, node));
    REQUIRE(task->type == CU_GRAPH_NODE_TYPE_MEMSET);
    return memset_task(*params, false, *task);
}

CU(cuGraphAddHostNode)(BEFORE, const HostParams* params) {
    ENTER();
    REQUIRE(params != nullptr);
    ADD(host(params->fn, params->userData, task));
}
CU(cuGraphHostNodeGetParams)(CUgraphNode node, HostParams* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_HOST));
    *params = {task->host_function, task->host_data};
    return CUDA_SUCCESS;
}
CU(cuGraphHostNodeSetParams)(CUgraphNode node, const HostParams* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_HOST));
    return host(params->fn, params->userData, *task);
}
CU(cuGraphExecHostNodeSetParams)(CUgraphExec exec, CUgraphNode node, const HostParams* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, exec_task(exec, node));
    REQUIRE(task->type == CU_GRAPH_NODE_TYPE_HOST);
    return host(params->fn, params->userData, *task);
}
CU(cuGraphAddChildGraphNode)(BEFORE, CUgraph embedded) {
    ENTER();
    ADD(child(embedded, task));
}
CU(cuGraphAddEmptyNode)(BEFORE) {
    ENTER();
    return add(out, graph, before, count, Task{});
}
CU(cuGraphAddEventRecordNode)(BEFORE, CUevent handle) {
    ENTER();
    ADD(event(kEventRecordNode, handle, task));
}
CU(cuGraphAddEventWaitNode)(BEFORE, CUevent handle) {
    ENTER();
    ADD(event(kWaitEventNode, handle, task));
}
CU(cuGraphAddMemAllocNode)(BEFORE, CUDA_MEM_ALLOC_NODE_PARAMS* params) {
    ENTER();
    REQUIRE(params != nullptr);
    ADD(alloc(*params, task));
}
CU(cuGraphMemAllocNodeGetParams)(CUgraphNode node, CUDA_MEM_ALLOC_NODE_PARAMS* params) {
    ENTER();
    REQUIRE(params != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_MEM_ALLOC));
    *params = task->alloc_params;
    return CUDA_SUCCESS;
}
CU(cuGraphAddMemFreeNode)(BEFORE, CUdeviceptr address) {
    ENTER();
    REQUIRE(address != 0);
    Task task;
    task.type = CU_GRAPH_NODE_TYPE_MEM_FREE;
    task.address = address;
    return add(out, graph, before, count, std::move(task));
}
CU(cuGraphMemFreeNodeGetParams)(CUgraphNode node, CUdeviceptr* address) {
    ENTER();
    REQUIRE(address != nullptr);
    TASK(task, task_of(node, CU_GRAPH_NODE_TYPE_MEM_FREE));
    *address = task->address;
    return CUDA_SUCCESS;
}
CU(cuGraphAddNode)(BEFORE, NodeParams* params) {
    ENTER();
    REQUIRE(params != nullptr);
    ADD(task_from(*params, task));
}
CU(cuGraphAddNode_v2)
(CUgraphNode* out,
 CUgraph graph,
 const CUgraphNode* before,
 const void*,
 std::size_t count,
 NodeParams* params) {
    ENTER();
    REQUIRE(params != nullptr);
    ADD(task_from(*params, task));
}
CU(cuGraphNodeSetParams)(CUgraphNode node, NodeParams* params) {
    ENTER();
    REQUIRE(params != nullptr);
    Task made;
    if (const CUresult result = task_from(*params, made); result != CUDA_SUCCESS) return result;
    TASK(task, task_of(node, params->type));
    *task = std::move(made);
    return CUDA_SUCCESS;
}
CU(cuGraphExecNodeSetParams)(CUgraphExec exec, CUgraphNode node, NodeParams* params) {
    ENTER();
    REQUIRE(params != nullptr);
    Task made;
    if (const CUresult result = task_from(*params, made); result != CUDA_SUCCESS) return result;
    TASK(task, exec_task(exec, node));
    REQUIRE(task->type == params->type);
    *task = std::move(made);
    return CUDA_SUCCESS;
}
CU(cuGraphNodeSetEnabled)(CUgraphExec exec, CUgraphNode node, unsigned enabled) {
    ENTER();
    TASK(task, exec_task(exec, node));
    REQUIRE(task->type <= CU_GRAPH_NODE_TYPE_MEMSET);
    task->enabled = enabled != 0;
    return CUDA_SUCCESS;
}
CU(cuGraphNodeGetEnabled)(CUgraphExec exec, CUgraphNode node, unsigned* enabled) {
    ENTER();
    REQUIRE(enabled != nullptr);
    TASK(task, exec_task(exec, node));
    *enabled = task->enabled ? 1 : 0;
    return CUDA_SUCCESS;
}
