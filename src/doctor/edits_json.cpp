#include "doctor/edits_json.h"

namespace egpu::doctor {

json::value edits_to_json(const inject::ContainerEdits& edits) {
    json::object envs;
    for (const auto& [name, value] : edits.envs) envs[name] = value;
    json::array mounts;
    for (const inject::Mount& each : edits.mounts) {
        mounts.push_back(json::object{
            {"host", each.host}, {"container", each.container}, {"readOnly", each.read_only}});
    }
    json::array devices;
    for (const inject::DeviceNode& each : edits.devices) {
        devices.push_back(json::object{
            {"host", each.host}, {"container", each.container}, {"permissions", each.permissions}});
    }
    json::object out;
    out["envs"] = std::move(envs);
    out["mounts"] = std::move(mounts);
    out["devices"] = std::move(devices);
    return out;
}

inject::ContainerEdits edits_from_json(const json::value& from) {
    inject::ContainerEdits edits;
    if (const json::object* envs = json::get_object(from, {"envs"})) {
        for (const auto& [name, value] : *envs) {
            if (value.is_string()) edits.envs[name] = std::string(value.as_string());
        }
    }
    const auto text = [](const json::value& value, const char* key) {
        return std::string(json::get_string(value, {key}));
    };
    if (const json::array* mounts = json::get_array(from, {"mounts"})) {
        for (const json::value& each : *mounts) {
            edits.mounts.push_back(
                {text(each, "host"),
                 text(each, "container"),
                 json::get_bool(each, {"readOnly"}, true)}
            );
        }
    }
    if (const json::array* devices = json::get_array(from, {"devices"})) {
        for (const json::value& each : *devices) {
            edits.devices.push_back(
                {text(each, "host"), text(each, "container"), text(each, "permissions")}
            );
        }
    }
    return edits;
}

}  // namespace egpu::doctor
