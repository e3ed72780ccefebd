#include "doctor/smoke_spec.h"

namespace egpu::doctor {
namespace {

json::array strings(std::initializer_list<const char*> items) {
    json::array out;
    for (const char* item : items) out.emplace_back(item);
    return out;
}

json::value mount(
    const std::string& destination,
    const std::string& type,
    const std::string& source,
    json::array options
) {
    json::object out;
    out["destination"] = destination;
    out["type"] = type;
    out["source"] = source;
    out["options"] = std::move(options);
    return out;
}

json::array mounts(const inject::ContainerEdits& edits) {
    json::array out;
    out.push_back(mount("/proc", "proc", "proc", strings({"nosuid", "noexec", "nodev"})));
    out.push_back(mount(
        "/dev", "tmpfs", "tmpfs", strings({"nosuid", "strictatime", "mode=755", "size=65536k"})
    ));
    out.push_back(mount("/sys", "sysfs", "sysfs", strings({"nosuid", "noexec", "nodev", "ro"})));
    out.push_back(
        mount("/tmp", "tmpfs", "tmpfs", strings({"nosuid", "nodev", "mode=1777", "size=65536k"}))
    );
    for (const inject::Mount& each : edits.mounts) {
        out.push_back(mount(
            each.container,
            "bind",
            each.host,
            each.read_only ? strings({"rbind", "rprivate", "ro", "nosuid", "nodev"})
                           : strings({"rbind", "rprivate", "nosuid", "nodev"})
        ));
    }
    return out;
}

json::object linux_part(const SmokeContainer& container) {
    json::array devices;
    json::array rules;
    rules.push_back(json::object{{"allow", false}, {"access", "rwm"}});
    for (const inject::DeviceNode& node : container.edits.devices) {
        const auto number = container.numbers.find(node.host);
        if (number == container.numbers.end()) continue;
        devices.push_back(json::object{
            {"path", node.container},
            {"type", "c"},
            {"major", number->second.major},
            {"minor", number->second.minor},
            {"fileMode", 0666},
            {"uid", 0},
            {"gid", 0}});
        rules.push_back(json::object{
            {"allow", true},
            {"type", "c"},
            {"major", number->second.major},
            {"minor", number->second.minor},
            {"access", node.permissions}});
    }
    json::array namespaces;
    for (const char* type : {"pid", "ipc", "uts", "mount", "network"}) {
        namespaces.push_back(json::object{{"type", type}});
    }
    json::object out;
    out["namespaces"] = std::move(namespaces);
    out["devices"] = std::move(devices);
    out["resources"] = json::object{{"devices", std::move(rules)}};
    out["cgroupsPath"] = container.cgroup;
    return out;
}

}  // namespace

json::value smoke_spec(const SmokeContainer& container) {
    json::array args;
    for (const std::string& arg : container.args) args.emplace_back(arg);
    json::array env;
    env.emplace_back("PATH=/usr/bin:/bin");
    for (const auto& [name, value] : container.edits.envs) env.emplace_back(name + "=" + value);
    json::object process;
    process["user"] = json::object{{"uid", 0}, {"gid", 0}};
    process["args"] = std::move(args);
    process["env"] = std::move(env);
    process["cwd"] = "/";
    process["noNewPrivileges"] = true;
    json::object out;
    out["ociVersion"] = "1.0.2";
    out["process"] = std::move(process);
    out["root"] = json::object{{"path", container.rootfs}, {"readonly", true}};
    out["hostname"] = "edge-gpu-smoke";
    out["mounts"] = mounts(container.edits);
    out["linux"] = linux_part(container);
    return out;
}

}  // namespace egpu::doctor
