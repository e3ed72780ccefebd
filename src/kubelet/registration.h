// One Register call to the kubelet, that another thread can cancel. Internal.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"

namespace egpu::kubelet {

struct Registration {
    std::filesystem::path kubelet_socket{};
    std::string endpoint{};  // file name in the kubelet's device-plugin folder
    std::string resource{};
    bool pre_start = false;
    bool preferred = false;
};

class RegistrationCall {
  public:
    RegistrationCall();
    ~RegistrationCall();

    // The kubelet's answer; the server must serve already (1.25+ calls back before it answers).
    Status run(const Registration& registration, Duration deadline);
    // The running call, and every later one, ends with kStopped. From any thread.
    void cancel();

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace egpu::kubelet
