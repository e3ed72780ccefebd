#include "inject/injector.h"

#include "inject/nvidia.h"

namespace egpu::inject {

Result<std::unique_ptr<Injector>> make_injector(InjectOptions options) {
    // "auto" takes the best that works on this node; so far there is one to take.
    if (options.strategy == "auto" || options.strategy == "nvidia") {
        return make_nvidia_injector(std::move(options));
    }
    return Error{
        ErrorCode::kInvalid,
        "--injection=" + options.strategy.substr(0, 64) +
            " is not available in this version; available: auto, nvidia"};
}

}  // namespace egpu::inject
