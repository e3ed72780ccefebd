#include "testing/cuda/capture.h"

#include <algorithm>
#include <atomic>

namespace egpu::testing::cuda {
namespace {

std::set<Capture*>& captures() {
    static auto* instance = new std::set<Capture*>;
    return *instance;
}
std::atomic<int> active{0};

CaptureMode& thread_mode() {
    thread_local CaptureMode mode = CaptureMode::kGlobal;
    return mode;
}

CUresult begin(
    CUstream handle,
    Default flavour,
    int mode,
    CUgraph into,
    const CUgraphNode* after,
    std::size_t count
) {
    REQUIRE(mode >= 0 && mode <= 2);
    STREAM(stream, handle, flavour);
    const std::lock_guard lock(engine().mutex);
    if (stream->legacy) return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    if (stream->capture != nullptr) return CUDA_ERROR_INVALID_VALUE;
    Graph* graph = nullptr;
    std::vector<Node*> tail;
    if (into != nullptr) {
        graph = graph_of(into);
        REQUIRE(graph != nullptr && (after != nullptr || count == 0));
        for (std::size_t i = 0; i < count; ++i) {
            Node* node = node_of(after[i]);
            REQUIRE(node != nullptr && node->graph == graph);
            tail.push_back(node);
        }
    }
    auto* capture = new Capture;
    capture->id = driver().next_id++;
    capture->mode = static_cast<CaptureMode>(mode);
    capture->origin = stream;
    capture->thread = std::this_thread::get_id();
    capture->own_graph = graph == nullptr;
    capture->graph = graph != nullptr ? graph : make_graph();
    capture->streams = {stream};
    stream->capture = capture;
    stream->capture_tail = std::move(tail);
    captures().insert(capture);
    ++active;
    return CUDA_SUCCESS;
}

CUresult end(CUstream handle, Default flavour, CUgraph* out) {
    REQUIRE(out != nullptr);
    STREAM(stream, handle, flavour);
    const std::lock_guard lock(engine().mutex);
    *out = nullptr;
    Capture* capture = stream->capture;
    if (capture == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (capture->origin != stream) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
    if (capture->mode != CaptureMode::kRelaxed && capture->thread != std::this_thread::get_id()) {
        return kStreamCaptureWrongThread;
    }
    // What other streams did must have been joined: every node is before the origin's last ones.
    bool unjoined = false;
    if (!capture->invalid) {
        std::set<Node*> reached;
        std::vector<Node*> todo = stream->capture_tail;
        while (!todo.empty()) {
            Node* node = todo.back();
            todo.pop_back();
            if (!reached.insert(node).second) continue;
            todo.insert(todo.end(), node->dependencies.begin(), node->dependencies.end());
        }
        for (const Stream* other : capture->streams) {
            for (Node* node : other->capture_tail) unjoined = unjoined || reached.count(node) == 0;
        }
    }
    const bool invalid = capture->invalid;
    for (Stream* other : capture->streams) {
        other->capture = nullptr;
        other->capture_tail.clear();
    }
    Graph* graph = capture->graph;
    const bool own = capture->own_graph;
    captures().erase(capture);
    delete capture;
    --active;
    if (invalid || unjoined) {
        if (own) destroy_graph(graph);
        return invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : kStreamCaptureUnjoined;
    }
    *out = reinterpret_cast<CUgraph>(graph);
    return CUDA_SUCCESS;
}

int status_of(const Stream* stream) {
    if (stream->capture == nullptr) return CU_STREAM_CAPTURE_STATUS_NONE;
    return stream->capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                    : CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

CUresult is_capturing(CUstream handle, Default flavour, int* status) {
    REQUIRE(status != nullptr);
    STREAM(stream, handle, flavour);
    const std::lock_guard lock(engine().mutex);
    if (const CUresult result = check_implicit(stream); result != CUDA_SUCCESS) return result;
    *status = status_of(stream);
    return CUDA_SUCCESS;
}

CUresult info(
    CUstream handle,
    Default flavour,
    int* status,
    std::uint64_t* id,
    CUgraph* graph,
    const CUgraphNode** tail,
    std::size_t* count
) {
    REQUIRE(status != nullptr);
    STREAM(stream, handle, flavour);
    const std::lock_guard lock(engine().mutex);
    if (const CUresult result = check_implicit(stream); result != CUDA_SUCCESS) return result;
    *status = status_of(stream);
    if (*status != CU_STREAM_CAPTURE_STATUS_ACTIVE) return CUDA_SUCCESS;
    if (id != nullptr) *id = stream->capture->id;
    if (graph != nullptr) *graph = reinterpret_cast<CUgraph>(stream->capture->graph);
    if (tail != nullptr) *tail = reinterpret_cast<const CUgraphNode*>(stream->capture_tail.data());
    if (count != nullptr) *count = stream->capture_tail.size();
    return CUDA_SUCCESS;
}

CUresult update(
    CUstream handle, Default flavour, CUgraphNode* nodes, std::size_t count, unsigned flags
) {
    REQUIRE(flags <= 1 && (nodes != nullptr || count == 0));
    STREAM(stream, handle, flavour);
    const std::lock_guard lock(engine().mutex);
    if (stream->capture == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (stream->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    std::vector<Node*> tail;
    if (flags == 0) tail = stream->capture_tail;  // add
    for (std::size_t i = 0; i < count; ++i) {
        Node* node = node_of(nodes[i]);
        REQUIRE(node != nullptr && node->graph == stream->capture->graph);
        if (std::find(tail.begin(), tail.end(), node) == tail.end()) tail.push_back(node);
    }
    stream->capture_tail = std::move(tail);
    return CUDA_SUCCESS;
}

}  // namespace

bool any_capture() {
    return active.load(std::memory_order_relaxed) != 0;
}

CUresult capture_task(Stream* stream, Task task) {
    if (stream->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    Node* node = nullptr;
    const CUresult result =
        add_node(stream->capture->graph, stream->capture_tail, std::move(task), node);
    if (result == CUDA_SUCCESS) stream->capture_tail = {node};
    return result;
}

CUresult capture_alloc(Stream* stream, Device& device, std::size_t size, CUdeviceptr& out) {
    Task task;
    task.type = CU_GRAPH_NODE_TYPE_MEM_ALLOC;
    {
        const std::lock_guard lock(driver().mutex);
        if (const CUresult result = make_piece(device, size, task.piece); result != CUDA_SUCCESS) {
            return result;
        }
    }
    out = task.piece->address;
    task.alloc_params.bytesize = size;
    task.alloc_params.dptr = out;
    task.alloc_params.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    task.alloc_params.poolProps.location = {CU_MEM_LOCATION_TYPE_DEVICE, device.ordinal};
    return capture_task(stream, std::move(task));
}

CUresult capture_free(Stream* stream, CUdeviceptr address) {
    Task task;
    task.type = CU_GRAPH_NODE_TYPE_MEM_FREE;
    task.address = address;
    return capture_task(stream, std::move(task));
}

CUresult check_implicit(Stream* stream) {
    if (!any_capture() || !stream->legacy) return CUDA_SUCCESS;
    CUresult result = CUDA_SUCCESS;
    for (Stream* other : stream->context->streams) {
        if (other->capture == nullptr || !other->blocking) continue;
        other->capture->invalid = true;
        result = CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    return result;
}

void capture_record(Stream* stream, Event* event) {
    event->capture_id = stream->capture->id;
    event->captured = stream->capture_tail;
}

CUresult capture_wait(Stream* stream, Event* event) {
    Capture* found = nullptr;
    for (Capture* capture : captures()) {
        if (capture->id == event->capture_id) found = capture;
    }
    if (found == nullptr) return CUDA_ERROR_INVALID_VALUE;  // that capture has ended
    if (found->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    if (stream->legacy) {
        found->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
    if (stream->capture != nullptr && stream->capture != found) {
        found->invalid = stream->capture->invalid = true;
        return kStreamCaptureMerge;
    }
    if (stream->capture == nullptr) {
        stream->capture = found;
        found->streams.push_back(stream);
    }
    for (Node* node : event->captured) {
        auto& tail = stream->capture_tail;
        if (std::find(tail.begin(), tail.end(), node) == tail.end()) tail.push_back(node);
    }
    return CUDA_SUCCESS;
}

CUresult refuse_in_capture() {
    if (!any_capture() || thread_mode() == CaptureMode::kRelaxed) return CUDA_SUCCESS;
    const std::lock_guard lock(engine().mutex);
    CUresult result = CUDA_SUCCESS;
    for (Capture* capture : captures()) {
        const bool mine =
            capture->thread == std::this_thread::get_id() && capture->mode != CaptureMode::kRelaxed;
        const bool everybodys =
            capture->mode == CaptureMode::kGlobal && thread_mode() == CaptureMode::kGlobal;
        if (!mine && !everybodys) continue;
        capture->invalid = true;
        result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return result;
}

}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuStreamBeginCapture)(CUstream stream) {
    ENTER();
    return begin(stream, Default::kLegacy, 0, nullptr, nullptr, 0);
}
CU(cuStreamBeginCapture_ptsz)(CUstream stream) {
    ENTER();
    return begin(stream, Default::kPerThread, 0, nullptr, nullptr, 0);
}
CU(cuStreamBeginCapture_v2)(CUstream stream, int mode) {
    ENTER();
    return begin(stream, Default::kLegacy, mode, nullptr, nullptr, 0);
}
CU(cuStreamBeginCapture_v2_ptsz)(CUstream stream, int mode) {
    ENTER();
    return begin(stream, Default::kPerThread, mode, nullptr, nullptr, 0);
}
CU(cuStreamBeginCaptureToGraph)
(CUstream stream, CUgraph graph, const CUgraphNode* after, const void*, std::size_t count, int mode
) {
    ENTER();
    REQUIRE(graph != nullptr);
    return begin(stream, Default::kLegacy, mode, graph, after, count);
}
CU(cuStreamBeginCaptureToGraph_ptsz)
(CUstream stream, CUgraph graph, const CUgraphNode* after, const void*, std::size_t count, int mode
) {
    ENTER();
    REQUIRE(graph != nullptr);
    return begin(stream, Default::kPerThread, mode, graph, after, count);
}
CU(cuStreamEndCapture)(CUstream stream, CUgraph* out) {
    ENTER();
    return end(stream, Default::kLegacy, out);
}
CU(cuStreamEndCapture_ptsz)(CUstream stream, CUgraph* out) {
    ENTER();
    return end(stream, Default::kPerThread, out);
}
CU(cuStreamIsCapturing)(CUstream stream, int* status) {
    ENTER();
    return is_capturing(stream, Default::kLegacy, status);
}
CU(cuStreamIsCapturing_ptsz)(CUstream stream, int* status) {
    ENTER();
    return is_capturing(stream, Default::kPerThread, status);
}
CU(cuStreamGetCaptureInfo)(CUstream stream, int* status, std::uint64_t* id) {
    ENTER();
    return info(stream, Default::kLegacy, status, id, nullptr, nullptr, nullptr);
}
CU(cuStreamGetCaptureInfo_ptsz)(CUstream stream, int* status, std::uint64_t* id) {
    ENTER();
    return info(stream, Default::kPerThread, status, id, nullptr, nullptr, nullptr);
}
CU(cuStreamGetCaptureInfo_v2)
(CUstream stream,
 int* status,
 std::uint64_t* id,
 CUgraph* graph,
 const CUgraphNode** tail,
 std::size_t* count) {
    ENTER();
    return info(stream, Default::kLegacy, status, id, graph, tail, count);
}
CU(cuStreamGetCaptureInfo_v2_ptsz)
(CUstream stream,
 int* status,
 std::uint64_t* id,
 CUgraph* graph,
 const CUgraphNode** tail,
 std::size_t* count) {
    ENTER();
    return info(stream, Default::kPerThread, status, id, graph, tail, count);
}
CU(cuStreamGetCaptureInfo_v3)
(CUstream stream,
 int* status,
 std::uint64_t* id,
 CUgraph* graph,
 const CUgraphNode** tail,
 const void** edges,
 std::size_t* count) {
    ENTER();
    if (edges != nullptr) *edges = nullptr;
    return info(stream, Default::kLegacy, status, id, graph, tail, count);
}
CU(cuStreamGetCaptureInfo_v3_ptsz)
(CUstream stream,
 int* status,
 std::uint64_t* id,
 CUgraph* graph,
 const CUgraphNode** tail,
 const void** edges,
 std::size_t* count) {
    ENTER();
    if (edges != nullptr) *edges = nullptr;
    return info(stream, Default::kPerThread, status, id, graph, tail, count);
}
CU(cuStreamUpdateCaptureDependencies)
(CUstream stream, CUgraphNode* nodes, std::size_t count, unsigned flags) {
    ENTER();
    return update(stream, Default::kLegacy, nodes, count, flags);
}
CU(cuStreamUpdateCaptureDependencies_ptsz)
(CUstream stream, CUgraphNode* nodes, std::size_t count, unsigned flags) {
    ENTER();
    return update(stream, Default::kPerThread, nodes, count, flags);
}
CU(cuStreamUpdateCaptureDependencies_v2)
(CUstream stream, CUgraphNode* nodes, const void*, std::size_t count, unsigned flags) {
    ENTER();
    return update(stream, Default::kLegacy, nodes, count, flags);
}
CU(cuStreamUpdateCaptureDependencies_v2_ptsz)
(CUstream stream, CUgraphNode* nodes, const void*, std::size_t count, unsigned flags) {
    ENTER();
    return update(stream, Default::kPerThread, nodes, count, flags);
}
CU(cuThreadExchangeStreamCaptureMode)(int* mode) {
    ENTER();
    REQUIRE(mode != nullptr && *mode >= 0 && *mode <= 2);
    const auto before = static_cast<int>(thread_mode());
    thread_mode() = static_cast<CaptureMode>(*mode);
    *mode = before;
    return CUDA_SUCCESS;
}
