// Graphs made executable, launched and updated.
#include "testing/cuda/graph_exec.h"

#include <algorithm>

#include "testing/cuda/capture.h"
#include "testing/cuda/graph_memory.h"

namespace egpu::testing::cuda {

Exec* exec_of(CUgraphExec handle) {
    auto* exec = reinterpret_cast<Exec*>(handle);
    return exec != nullptr && exec->live == Exec::kLive ? exec : nullptr;
}

namespace {

constexpr std::uint64_t kAutoFreeOnLaunch = 1;
constexpr std::uint64_t kKnownFlags = 0xF;

// Child graphs are taken apart: their nodes come where the child is.
bool flatten(const Graph& graph, Exec& exec) {
    std::vector<Node*> order;
    if (!ordered(graph, order)) return false;
    for (Node* node : order) {
        exec.index[node] = exec.tasks.size();
        if (node->task.child != nullptr) {
            exec.tasks.push_back(Task{});  // the child itself takes no time
            if (!flatten(*node->task.child, exec)) return false;
            continue;
        }
        exec.tasks.push_back(node->task);
    }
    return true;
}

CUresult instantiate(CUgraphExec* out, CUgraph handle, std::uint64_t flags) {
    REQUIRE(out != nullptr && (flags & ~kKnownFlags) == 0);
    CONTEXT(context);
    if (const CUresult result = refuse_in_capture(); result != CUDA_SUCCESS) return result;
    const std::lock_guard lock(engine().mutex);
    const Graph* graph = graph_of(handle);
    REQUIRE(graph != nullptr);
    Exec made;
    REQUIRE(flatten(*graph, made));
    made.flags = flags;
    Exec* exec = Stable<Exec>::make();
    *exec = std::move(made);
    exec->live = Exec::kLive;
    *out = reinterpret_cast<CUgraphExec>(exec);
    return CUDA_SUCCESS;
}

// Under both mutexes: what the graph allocates is there from now on, or nothing of it.
CUresult provide_memory(Exec& exec) {
    std::set<std::uint64_t> freed;
    for (const Task& task : exec.tasks) {
        if (task.type == CU_GRAPH_NODE_TYPE_MEM_FREE) freed.insert(task.address);
    }
    std::vector<std::uint64_t> undo;
    std::map<Device*, std::uint64_t> transient;
    CUresult result = CUDA_SUCCESS;
    for (const Task& task : exec.tasks) {
        if (task.type != CU_GRAPH_NODE_TYPE_MEM_ALLOC) continue;
        if (freed.count(task.piece->address) != 0) {
            transient[task.piece->device] += task.piece->whole;
            continue;
        }
        if (graph_memory_allocated(task.piece->address)) {
            if ((exec.flags & kAutoFreeOnLaunch) == 0) {
                result = CUDA_ERROR_INVALID_VALUE;
                break;
            }
            free_graph_memory_locked(task.piece->address);
        }
        if (result == CUDA_SUCCESS) result = allocate_graph_memory(task.piece);
        if (result != CUDA_SUCCESS) break;
        undo.push_back(task.piece->address);
    }
    for (const auto& [device, bytes] : transient) {
        if (result == CUDA_SUCCESS && !reserve_graph_memory(*device, bytes)) {
            result = CUDA_ERROR_OUT_OF_MEMORY;
        }
        device->graph.used_high = std::max(device->graph.used_high, device->graph.used + bytes);
    }
    if (result != CUDA_SUCCESS) {
        for (const std::uint64_t address : undo) free_graph_memory_locked(address);
    }
    return result;
}

bool allocates(const std::vector<Task>& tasks, std::uint64_t address) {
    return std::any_of(tasks.begin(), tasks.end(), [&](const Task& task) {
        return task.type == CU_GRAPH_NODE_TYPE_MEM_ALLOC && task.piece->address == address;
    });
}

CUresult launch(CUgraphExec handle, CUstream stream_handle, Default flavour) {
    STREAM(stream, stream_handle, flavour);
    spend(driver().settings.launch_ns);
    std::unique_lock lock(engine().mutex);
    Exec* exec = exec_of(handle);
    REQUIRE(exec != nullptr);
    if (const CUresult result = check_implicit(stream); result != CUDA_SUCCESS) return result;
    if (stream->capture != nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    {
        const std::lock_guard inner(driver().mutex);
        if (const CUresult result = provide_memory(*exec); result != CUDA_SUCCESS) return result;
    }
    // One launch of a graph at a time.
    if (exec->last != nullptr && exec->last != stream && exec->last->id == exec->last_id) {
        Operation wait;
        wait.kind = Operation::Kind::kWaitStream;
        wait.stream = exec->last;
        wait.id = exec->last_id;
        wait.position = exec->last_position;
        engine().enqueue(lock, stream, std::move(wait));
    }
    // The queue may be full, and waiting for it lets others in: the graph's work is copied before.
    const std::vector<Task> tasks = exec->tasks;
    const std::uint64_t id = stream->id;
    for (const Task& task : tasks) {
        if (!task.enabled || stream->id != id) continue;
        if (task.type == kEventRecordNode) {
            enqueue_record(lock, stream, task.event);
        } else if (task.type == kWaitEventNode) {
            enqueue_wait(lock, stream, task.event);
        } else if (task.type == CU_GRAPH_NODE_TYPE_MEM_FREE) {
            if (allocates(tasks, task.address)) continue;
            Operation free;
            free.work = [address = task.address] {
                const std::lock_guard inner(driver().mutex);
                free_graph_memory_locked(address);
            };
            engine().enqueue(lock, stream, std::move(free));
        } else if (task.type == CU_GRAPH_NODE_TYPE_KERNEL || task.work) {
            engine().enqueue(lock, stream, operation_of(task));
        }
    }
    if (exec->live == Exec::kLive) {
        exec->last = stream;
        exec->last_id = stream->id;
        exec->last_position = stream->enqueued;
    }
    return CUDA_SUCCESS;
}

CUresult upload(CUgraphExec handle, CUstream stream_handle, Default flavour) {
    STREAM(stream, stream_handle, flavour);
    const std::lock_guard lock(engine().mutex);
    REQUIRE(exec_of(handle) != nullptr);
    return stream->capture != nullptr ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

enum UpdateResult : int { kUpdated = 0, kTopologyChanged = 2, kTypeChanged = 3 };

CUresult update(CUgraphExec handle, CUgraph graph_handle, CUgraphNode* where, int& how) {
    const std::lock_guard lock(engine().mutex);
    Exec* exec = exec_of(handle);
    const Graph* graph = graph_of(graph_handle);
    REQUIRE(exec != nullptr && graph != nullptr);
    Exec next;
    how = kTopologyChanged;
    if (where != nullptr) *where = nullptr;
    if (!flatten(*graph, next) || next.tasks.size() != exec->tasks.size())
        return kGraphExecUpdateFailure;
    for (std::size_t i = 0; i < next.tasks.size(); ++i) {
        if (next.tasks[i].type == exec->tasks[i].type) continue;
        how = kTypeChanged;
        return kGraphExecUpdateFailure;
    }
    for (std::size_t i = 0; i < next.tasks.size(); ++i) {
        const bool enabled = exec->tasks[i].enabled;
        exec->tasks[i] = next.tasks[i];
        exec->tasks[i].enabled = enabled;
    }
    how = kUpdated;
    return CUDA_SUCCESS;
}

struct UpdateInfo {  // the driver's
    int result;
    CUgraphNode errorNode;
    CUgraphNode errorFromNode;
};
static_assert(sizeof(UpdateInfo) == 24);

CUresult instantiate_with(CUgraphExec* out, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
    REQUIRE(params != nullptr);
    const CUresult result = instantiate(out, graph, params->flags);
    params->hErrNode_out = nullptr;
    params->result_out = result == CUDA_SUCCESS ? 0 : 1;
    return result;
}

}  // namespace
}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuGraphInstantiate)
(CUgraphExec* out, CUgraph graph, CUgraphNode* node, char* log, std::size_t size) {
    ENTER();
    if (node != nullptr) *node = nullptr;
    if (log != nullptr && size > 0) *log = '\0';
    return instantiate(out, graph, 0);
}
CU(cuGraphInstantiate_v2)
(CUgraphExec* out, CUgraph graph, CUgraphNode* node, char* log, std::size_t size) {
    ENTER();
    if (node != nullptr) *node = nullptr;
    if (log != nullptr && size > 0) *log = '\0';
    return instantiate(out, graph, 0);
}
CU(cuGraphInstantiateWithFlags)(CUgraphExec* out, CUgraph graph, unsigned long long flags) {
    ENTER();
    return instantiate(out, graph, flags);
}
CU(cuGraphInstantiateWithParams)
(CUgraphExec* out, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
    ENTER();
    return instantiate_with(out, graph, params);
}
CU(cuGraphInstantiateWithParams_ptsz)
(CUgraphExec* out, CUgraph graph, CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
    ENTER();
    return instantiate_with(out, graph, params);
}
CU(cuGraphExecGetFlags)(CUgraphExec handle, std::uint64_t* flags) {
    ENTER();
    REQUIRE(flags != nullptr);
    const std::lock_guard lock(engine().mutex);
    const Exec* exec = exec_of(handle);
    REQUIRE(exec != nullptr);
    *flags = exec->flags;
    return CUDA_SUCCESS;
}
CU(cuGraphExecDestroy)(CUgraphExec handle) {
    ENTER();
    const std::lock_guard lock(engine().mutex);
    Exec* exec = exec_of(handle);
    REQUIRE(exec != nullptr);
    Stable<Exec>::drop(exec);
    return CUDA_SUCCESS;
}
CU(cuGraphLaunch)(CUgraphExec exec, CUstream stream) {
    ENTER();
    return launch(exec, stream, Default::kLegacy);
}
CU(cuGraphLaunch_ptsz)(CUgraphExec exec, CUstream stream) {
    ENTER();
    return launch(exec, stream, Default::kPerThread);
}
CU(cuGraphUpload)(CUgraphExec exec, CUstream stream) {
    ENTER();
    return upload(exec, stream, Default::kLegacy);
}
CU(cuGraphUpload_ptsz)(CUgraphExec exec, CUstream stream) {
    ENTER();
    return upload(exec, stream, Default::kPerThread);
}
CU(cuGraphExecUpdate)(CUgraphExec exec, CUgraph graph, CUgraphNode* node, int* how) {
    ENTER();
    int result = 0;
    const CUresult code = update(exec, graph, node, result);
    if (how != nullptr) *how = result;
    return code;
}
CU(cuGraphExecUpdate_v2)(CUgraphExec exec, CUgraph graph, UpdateInfo* out) {
    ENTER();
    REQUIRE(out != nullptr);
    *out = {};
    return update(exec, graph, nullptr, out->result);
}
