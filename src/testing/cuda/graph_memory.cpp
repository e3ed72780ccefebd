// Memory that graphs allocate. A node has its addresses from the start; a launch makes sure that
// the device's graph memory holds what the graph allocates. That memory stays reserved until it is
// trimmed.
#include "testing/cuda/graph_memory.h"

#include <algorithm>
#include <cstring>

#include "testing/cuda/graph.h"

namespace egpu::testing::cuda {
namespace {

struct Pieces {
    std::mutex mutex;
    std::vector<GraphPiece> gone;  // whose last node is gone; not given back yet
};
Pieces& pieces() {
    static auto* instance = new Pieces;
    return *instance;
}

// Allocated now, by address. Under Driver::mutex.
std::map<std::uint64_t, std::shared_ptr<GraphPiece>>& allocated() {
    static auto* instance = new std::map<std::uint64_t, std::shared_ptr<GraphPiece>>;
    return *instance;
}

void give_gone_back() {
    std::vector<GraphPiece> gone;
    {
        const std::lock_guard lock(pieces().mutex);
        gone.swap(pieces().gone);
    }
    for (const GraphPiece& piece : gone) {
        give_addresses_back_locked(*piece.device, piece.address, piece.whole);
    }
}

bool reserve(Device& device, std::uint64_t whole) {
    GraphMemory& memory = device.graph;
    if (memory.used + whole > memory.reserved) {
        const std::uint64_t more = memory.used + whole - memory.reserved;
        if (!take(device, more)) return false;
        memory.reserved += more;
        memory.reserved_high = std::max(memory.reserved_high, memory.reserved);
    }
    return true;
}

}  // namespace

CUresult make_piece(Device& device, std::uint64_t size, std::shared_ptr<GraphPiece>& out) {
    REQUIRE(size > 0);
    if (size > device.bytes) return CUDA_ERROR_OUT_OF_MEMORY;
    give_gone_back();
    if (const CUresult result = open_arena(device); result != CUDA_SUCCESS) return result;
    GraphPiece piece;
    piece.device = &device;
    piece.size = size;
    piece.whole = round_up(size, kBlock);
    piece.address = device.arena.allocate(piece.whole);
    if (piece.address == 0) return CUDA_ERROR_OUT_OF_MEMORY;
    out = std::shared_ptr<GraphPiece>(new GraphPiece(piece), [](GraphPiece* last) {
        const std::lock_guard lock(pieces().mutex);
        pieces().gone.push_back(*last);
        delete last;
    });
    return CUDA_SUCCESS;
}

bool graph_memory_allocated(std::uint64_t address) {
    return allocated().count(address) != 0;
}

CUresult allocate_graph_memory(const std::shared_ptr<GraphPiece>& piece) {
    Device& device = *piece->device;
    if (!reserve(device, piece->whole)) return CUDA_ERROR_OUT_OF_MEMORY;
    device.graph.used += piece->whole;
    device.graph.used_high = std::max(device.graph.used_high, device.graph.used);
    allocated()[piece->address] = piece;
    Allocation allocation;
    allocation.size = piece->size;
    allocation.kind = Kind::kGraph;
    allocation.device = &device;
    allocation.id = driver().next_id++;
    driver().allocations[piece->address] = allocation;
    return CUDA_SUCCESS;
}

bool reserve_graph_memory(Device& device, std::uint64_t whole) {
    return reserve(device, whole);
}

bool free_graph_memory_locked(std::uint64_t address) {
    const auto found = allocated().find(address);
    if (found == allocated().end()) return false;
    found->second->device->graph.used -= found->second->whole;
    driver().allocations.erase(address);
    allocated().erase(found);
    return true;
}

}  // namespace egpu::testing::cuda

using namespace egpu::testing::cuda;

CU(cuDeviceGraphMemTrim)(CUdevice ordinal) {
    ENTER();
    DEVICE(device, ordinal);
    const std::lock_guard order(engine().mutex);
    engine().pump();
    const std::lock_guard lock(driver().mutex);
    give_gone_back();
    give_back(*device, device->graph.reserved - device->graph.used);
    device->graph.reserved = device->graph.used;
    return CUDA_SUCCESS;
}
CU(cuDeviceGetGraphMemAttribute)(CUdevice ordinal, CUgraphMem_attribute attribute, void* out) {
    ENTER();
    REQUIRE(out != nullptr && attribute >= 0 && attribute <= 3);
    DEVICE(device, ordinal);
    const std::lock_guard order(engine().mutex);
    engine().pump();
    const std::lock_guard lock(driver().mutex);
    const GraphMemory& memory = device->graph;
    const std::uint64_t values[] = {
        memory.used, memory.used_high, memory.reserved, memory.reserved_high};
    std::memcpy(out, &values[attribute], sizeof values[attribute]);
    return CUDA_SUCCESS;
}
CU(cuDeviceSetGraphMemAttribute)(CUdevice ordinal, CUgraphMem_attribute attribute, void* value) {
    ENTER();
    REQUIRE(value != nullptr);
    DEVICE(device, ordinal);
    std::uint64_t wide = 0;
    std::memcpy(&wide, value, sizeof wide);
    REQUIRE(wide == 0);
    const std::lock_guard lock(driver().mutex);
    if (attribute == CU_GRAPH_MEM_ATTR_USED_MEM_HIGH) {
        device->graph.used_high = device->graph.used;
    } else if (attribute == CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH) {
        device->graph.reserved_high = device->graph.reserved;
    } else {
        return CUDA_ERROR_INVALID_VALUE;
    }
    return CUDA_SUCCESS;
}
