// Streams being captured into graphs. All under the engine's mutex.
#pragma once

#include <thread>

#include "testing/cuda/graph.h"

namespace egpu::testing::cuda {

enum class CaptureMode : int { kGlobal = 0, kThreadLocal = 1, kRelaxed = 2 };

struct Capture {
    std::uint64_t id = 0;
    CaptureMode mode = CaptureMode::kGlobal;
    bool invalid = false;
    Stream* origin = nullptr;
    std::thread::id thread;
    Graph* graph = nullptr;
    bool own_graph = true;  // not one that the caller gave to capture into
    std::vector<Stream*> streams;
};

// Puts what the stream is asked to do into the graph it is captured into. The stream is capturing.
CUresult capture_task(Stream* stream, Task task);
CUresult capture_alloc(Stream* stream, Device& device, std::size_t size, CUdeviceptr& out);
CUresult capture_free(Stream* stream, CUdeviceptr address);
// The legacy stream is ordered with blocking streams, which a capture cannot express: CUDA_SUCCESS,
// or the error when `stream` is one whose use breaks a capture.
CUresult check_implicit(Stream* stream);
void capture_record(Stream* stream, Event* event);
// The stream waits for an event recorded on a capturing stream: joins its capture.
CUresult capture_wait(Stream* stream, Event* event);
bool any_capture();

}  // namespace egpu::testing::cuda
