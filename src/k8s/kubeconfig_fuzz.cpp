// Kubeconfig text: a Config that a client accepts, or an error with a message.
#include <cstdlib>

#include "k8s/client.h"
#include "k8s/kubeconfig.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto config = egpu::k8s::parse_kubeconfig(text, "/base");
    if (!config && config.error().message.empty()) std::abort();
    if (config) static_cast<void>(egpu::k8s::Client::open(*config));
    return 0;
}
