// The simulated library's process-wide state: the state file as last read, the init count, which
// events were delivered.
//
// Handles are addresses into one static table (never dereferenced), so a handle kept by a caller
// across a change of the file stays safe to pass in. Thread-safe; no lock is held while a slow call
// sleeps or an event wait blocks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "gpu/nvml_abi.h"
#include "testing/nvml/profile.h"
#include "testing/nvml/shared_node.h"

namespace egpu::testing {

using nvml::Code;

// The node as the state file says now; null (and a line on standard error, once) when the file is
// missing or wrong.
std::shared_ptr<const SimNode> current_node();

Code library_init();
Code library_shutdown();

// What every function asks first: initialised, driver loaded, symbol not hidden; sleeps when calls
// are slow.
Code enter(const char* symbol, std::shared_ptr<const SimNode>& node);

struct Target {
    std::shared_ptr<const SimNode> node;
    const SimGpu* gpu = nullptr;            // the physical GPU
    const SimInstance* instance = nullptr;  // set when the handle is of a MIG instance
    int gpu_position = 0;
};
// enter(), then the handle: INVALID_ARGUMENT for a foreign one, GPU_IS_LOST, NOT_FOUND for an
// instance that is gone. `deep`: a question that goes to the hardware, so it fails on a failing
// GPU.
Code enter(const char* symbol, nvml::Device device, Target& target, bool deep = true);

// Position in SimNode::gpus of the index-th enumerated GPU, -1 when there are fewer.
int position_of(const SimNode& node, unsigned index);
int index_of(const SimNode& node, int position);
unsigned enumerated(const SimNode& node);

nvml::Device gpu_handle(int position);
nvml::Device instance_handle(int position, int slot);
int handle_position(nvml::Device device);  // -1: not a handle
int handle_slot(nvml::Device device);      // -1: a physical GPU

Code event_set_create(nvml::EventSet* out);
Code event_set_register(nvml::EventSet set, int position, std::uint64_t types);
Code event_set_wait(nvml::EventSet set, nvml::EventData* data, unsigned timeout_ms);
Code event_set_free(nvml::EventSet set);

// Events up to this serial are not for new event sets: there before nvmlInit, or delivered already.
std::uint64_t event_baseline();
void raise_event_baseline(std::uint64_t serial);
std::string state_path();

// What processes use of the node's cards; null: none has used any.
SharedNode* shared_node();

}  // namespace egpu::testing
