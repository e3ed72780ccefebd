// Serves ONE resource to the kubelet and keeps it registered, whatever happens to the kubelet.
//
// Contract: device plugin API v1beta1. Serves first, registers second (from 1.25 on the kubelet
// calls back inside Register); a fresh socket name per incarnation; a full snapshot per change.
// Registers again when kubelet.sock is re-created, the own socket is deleted, the ListAndWatch
// stream is ended by the peer, or none is opened after Register.
// Thread-safe. Handlers are called on gRPC's threads, several at once.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "kubelet/types.h"

namespace egpu::kubelet {

// What the kubelet asks. An Error's message ends in the pod's events (allocate, preferred: the pod
// fails for good; pre_start: the kubelet retries the container). Codes map to gRPC's: kInvalid
// InvalidArgument, kNotFound NotFound, kConflict FailedPrecondition, kExhausted ResourceExhausted,
// kUnavailable and kStopped Unavailable, kDeadline DeadlineExceeded, kPermission PermissionDenied,
// kCorrupt DataLoss, others Internal. Handlers must return within their own deadlines: stop() waits
// for them.
struct DevicePluginHandlers {
    // Empty: get_preferred_allocation_available is false. The IDs are as the kubelet sent them:
    // unsorted, must_include is a subset of available. The answer is a hint.
    std::function<Result<std::vector<std::string>>(
        const std::vector<std::string>& available,
        const std::vector<std::string>& must_include,
        int size
    )>
        preferred{};
    // Required. Never call pod-resources List in here (it can make the kubelet hand IDs out twice).
    std::function<Result<AllocateResponse>(const std::vector<std::string>& ids)> allocate{};
    // Empty: pre_start_required is false. The kubelet gives it 30 s.
    std::function<Result<void>(const std::vector<std::string>& ids)> pre_start{};
};

struct DevicePluginOptions {
    std::string resource{};  // "nano-gpu/gpu-percent"
    std::filesystem::path folder = "/var/lib/kubelet/device-plugins";
    // Sockets are "<prefix>-<pid>-<random>.sock". Sockets of this prefix that nobody listens on are
    // removed at start. Must differ between resources; [A-Za-z0-9._-] only.
    std::string socket_prefix{};

    Duration register_deadline = Seconds(10);
    // No ListAndWatch so long after Register: again. Starts with a second, doubles up to this.
    Duration stream_wait = Seconds(10);
    Duration rescan = Seconds(3);           // sockets compared by inode, with inotify
    Duration rescan_polling = Millis(500);  // the same where inotify is not to be had
    Duration retry_first = Millis(50);      // back-off between attempts
    Duration retry_most = Seconds(2);
    bool use_inotify = true;  // false: poll only
};

enum class PluginState {
    kStopped,      // before start() and after stop()
    kNotServing,   // the socket cannot be bound (folder missing or read-only); retried
    kNoKubelet,    // kubelet.sock is not there or nobody listens; waiting for it
    kRefused,      // the kubelet answered Register with an error; retried
    kRegistering,  // about to register: first attempt, or after the stream ended
    kRegistered,   // Register succeeded, ListAndWatch not opened yet
    kStreaming,    // the kubelet follows our devices
};
std::string_view to_string(PluginState state);

class DevicePlugin {
  public:
    DevicePlugin(DevicePluginOptions options, DevicePluginHandlers handlers);
    ~DevicePlugin();
    DevicePlugin(const DevicePlugin&) = delete;
    DevicePlugin& operator=(const DevicePlugin&) = delete;

    // Serves (when the folder allows it) before it returns, and registers in the background: a
    // missing kubelet or folder is no error. kInvalid for options that can never work. Call
    // set_devices() first, so that the first answer is complete; a stream opened before the first
    // set_devices() waits for it.
    Status start();
    // Ends the streams, stops serving and removes the socket. Idempotent; waits for handlers that
    // run.
    void stop();

    // The whole list. Sent to every open stream when it differs from the last one. IDs must be
    // unique (duplicates are dropped, the first wins).
    void set_devices(const std::vector<Device>& devices);

    PluginState state() const;
    // Waits until `wanted` (or, for kRegistered, also kStreaming) is reached. False after
    // `timeout`.
    bool wait_for(PluginState wanted, Duration timeout) const;
    // Register calls that succeeded, ever.
    int registrations() const;
    // The socket served now; "" when none.
    std::filesystem::path socket() const;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::kubelet
