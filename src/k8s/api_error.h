// HTTP answers of the API server (and of proxies in front of it) as Error and ApiStatus; the table
// is in client.h. Pure.
#pragma once

#include <string_view>

#include "base/result.h"
#include "http/client.h"
#include "k8s/client.h"

namespace egpu::k8s {

// `label`: "GET /api/v1/pods". `credentials`: where they come from, for 401.
Error api_error(
    std::string_view label,
    std::string_view credentials,
    int http_code,
    const http::Headers& headers,
    std::string_view body,
    ApiStatus& status
);

}  // namespace egpu::k8s
