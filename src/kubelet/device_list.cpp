#include "kubelet/device_list.h"

#include <string_view>
#include <unordered_set>

namespace egpu::kubelet {

bool DeviceList::set(const std::vector<Device>& devices) {
    std::unordered_set<std::string_view> seen;
    auto unique = std::make_shared<std::vector<Device>>();
    unique->reserve(devices.size());
    for (const auto& device : devices) {
        if (seen.insert(device.id).second) unique->push_back(device);
    }
    const std::scoped_lock lock(mutex_);
    if (devices_ && *devices_ == *unique) return false;
    devices_ = std::move(unique);
    ++version_;
    changed_.notify_all();
    return true;
}

DeviceList::Snapshot DeviceList::wait_newer(std::uint64_t version, Duration timeout) {
    std::unique_lock lock(mutex_);
    const auto wakes = wakes_;
    const bool newer =
        changed_.wait_for(lock, timeout, [&] { return version_ > version || wakes_ != wakes; });
    if (!newer || version_ <= version) return {};
    return {version_, devices_};
}

void DeviceList::wake() {
    const std::scoped_lock lock(mutex_);
    ++wakes_;
    changed_.notify_all();
}

}  // namespace egpu::kubelet
