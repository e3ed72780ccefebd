// The test controls over HTTP, for processes that cannot call C++ (`curl` in a demo or an e2e
// script):
//   POST   /testing/faults
//   {"action":"status|drop-before|drop-after-commit|stall-after-commit|delay",
//                                    "method":"POST","path":"binding$","count":1,"status":503,
//                                    "retryAfterSeconds":1,"delayMillis":100}
//   DELETE /testing/faults          no rules, no latency, online
//   POST   /testing/latency         {"millis":20}
//   POST   /testing/mode            {"mode":"online|lite-offline"}
//   POST   /testing/break-watches, /testing/expire-history
//   GET    /testing/requests?method=POST&path=REGEX     {"count":N}
//   PUT    /testing/logs/NAMESPACE/POD?container=C      body = what `kubectl logs` prints
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "http/server.h"
#include "testing/apiserver/faults.h"
#include "testing/apiserver/rest.h"

namespace egpu::testing {

using LogSink = std::function<void(
    std::string_view name_space, std::string_view pod, std::string_view container, std::string
)>;

// `path` starts with "/testing/".
RestAnswer serve_control(const RestRequest& request, Faults& faults, const LogSink& set_log);

}  // namespace egpu::testing
