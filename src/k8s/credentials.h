// The Authorization header of a Config. Token files are re-read at most each minute, because bound
// service account tokens rotate, and after a 401. Thread-safe.
#pragma once

#include <mutex>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "k8s/kubeconfig.h"

namespace egpu::k8s {

class Credentials {
  public:
    explicit Credentials(const Config& config);

    // "Bearer …", "Basic …", or "" when the client certificate (or nothing) speaks for us. A token
    // file that cannot be read is an error only when it never could.
    Result<std::string> authorization();
    // The server answered 401 to `used`: true when there is something newer to try.
    bool refresh(const std::string& used);

  private:
    Status read_file_now();

    const std::string fixed_;
    const std::string token_file_;
    std::mutex mutex_;
    std::string from_file_;
    TimePoint read_at_;
};

}  // namespace egpu::k8s
