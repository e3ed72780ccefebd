// What the compute controller asks of the world: time, sleep, events, policy.
//
// A struct of function pointers, because the guard links no C++ runtime. Every function gets
// `self`, may be called from any thread, and must not call back into the controller. None may wait
// for work on the card to finish, sleep() apart.
#pragma once

#include <cstdint>

#include "guard/compute/policy.h"

namespace egpu::guard {

using EventHandle = void*;  // CUevent, made with timing

enum class EventState { kReady, kNotReady, kFailed };

struct Platform {
    void* self;
    std::uint64_t (*now_ns)(void* self);                  // CLOCK_MONOTONIC
    void (*sleep_ns)(void* self, std::uint64_t ns);       // asked for 5 ms at most
    void (*load_policy)(void* self, ComputePolicy* out);  // this card's; stale parts removed
    // The current context, which events and streams belong to; null when there is none.
    void* (*context)(void* self);
    EventHandle (*event_create)(void* self);  // in the current context; null when it fails
    void (*event_destroy)(void* self, EventHandle event);
    bool (*event_record)(void* self, EventHandle event, void* stream);
    EventState (*event_query)(void* self, EventHandle event);
    // From `start` to `end` in nanoseconds (negative when end came first); both are ready.
    bool (*event_span)(void* self, EventHandle start, EventHandle end, std::int64_t* span_ns);
    bool (*capturing)(void* self, void* stream);  // true also when the question fails
};

}  // namespace egpu::guard
