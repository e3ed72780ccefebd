#include "inject/artefacts.h"

#include <algorithm>

#include "base/files.h"
#include "base/log.h"
#include "gpu/device_nodes.h"
#include "gpu/make_device_nodes.h"
#include "inject/cdi_validate.h"
#include "inject/driver_stage.h"

namespace egpu::inject {
namespace {

constexpr Duration kLookAgain = Seconds(2);
constexpr Duration kModuleDeadline = Seconds(10);
constexpr Duration kModuleRetry = Seconds(60);
constexpr std::size_t kMostSpec = 16U << 20;

std::string without_slash(std::string root) {
    while (!root.empty() && root.back() == '/') root.pop_back();
    return root;
}

bool with_display(gpu::Capabilities capabilities) {
    return (capabilities & (gpu::kGraphics | gpu::kDisplay)) != 0;
}

std::vector<std::string> nodes_of(std::span<const GivenCard> cards) {
    std::set<std::string> nodes;
    for (const GivenCard& card : cards) {
        nodes.insert(card.device_nodes.begin(), card.device_nodes.end());
    }
    return {nodes.begin(), nodes.end()};
}

CdiNode cdi_node(const std::string& path, const NodeFiles& files, const FileView& dev_root) {
    CdiNode node;
    node.path = path;
    if (!files.dev_root.empty()) node.host_path = files.dev_root + path;
    const auto info = dev_root.look(path);
    if (info && info->type == FileType::kChar) {
        node.major = info->major;
        node.minor = info->minor;
    }
    return node;
}

}  // namespace

std::string below(const std::string& root, const std::string& path) {
    return without_slash(root) + path;
}

Result<CdiSpec> make_cdi_spec(
    std::string_view kind,
    bool by_index,
    const NodeFiles& files,
    const std::string& driver_root,
    const FileView& dev_root,
    std::span<const GivenCard> cards
) {
    CdiSpec spec;
    spec.kind = kind;
    // With NVIDIA's runtime as the node's default, a container's own variable would add cards; what
    // is set here replaces it.
    spec.edits.env = {"NVIDIA_VISIBLE_DEVICES=void"};
    for (const std::string& path : files.control_nodes) {
        spec.edits.nodes.push_back(cdi_node(path, files, dev_root));
    }
    for (const std::string& path : files.driver.device_nodes) {
        spec.edits.nodes.push_back(cdi_node(path, files, dev_root));
    }
    for (const DriverMount& mount : files.mounts) {
        spec.edits.mounts.push_back(
            {below(driver_root, mount.path),
             mount.container,
             {"ro", "nosuid", "nodev", "rbind", "rprivate"}}
        );
    }
    std::set<std::string> names;
    for (const GivenCard& card : cards) {
        CdiDevice device;
        const std::string index =
            card.index_text.empty() ? std::to_string(card.index) : card.index_text;
        device.name = cdi_device_name(by_index ? index : card.uuid);
        if (device.name.empty() || !names.insert(device.name).second) continue;
        for (const std::string& path : card.device_nodes) {
            device.edits.nodes.push_back(cdi_node(path, files, dev_root));
        }
        if (const auto found = files.render_nodes.find(card.pci_bus_id);
            found != files.render_nodes.end()) {
            for (const std::string& path : found->second) {
                device.edits.nodes.push_back(cdi_node(path, files, dev_root));
            }
        }
        // A card without node of its own (WSL, Jetson): the specification has no empty devices.
        if (device.edits.nodes.empty()) device.edits.env = {"NVIDIA_VISIBLE_DEVICES=void"};
        spec.devices.push_back(std::move(device));
    }
    if (spec.devices.empty()) return Error{ErrorCode::kNotFound, "no card to describe"};
    return spec;
}

Artefacts::Artefacts(InjectOptions options)
    : options_(std::move(options)),
      host_(options_.host_root),
      driver_root_(driver_root_seen(options_)) {
    module_version_ = gpu::loaded_module_version(host_);
    look();
}

std::shared_ptr<const NodeFiles> Artefacts::files() const {
    const std::lock_guard lock(mutex_);
    return files_;
}

void Artefacts::look() {
    auto files = std::make_shared<NodeFiles>();
    files->driver = gpu::find_driver(driver_root_, {module_version_});
    files->mounts = driver_mounts(files->driver, options_.capabilities, this_machine());
    // A driver container has device nodes of its own, or uses the host's.
    files->dev_root = without_slash(options_.dev_root);
    if (!files->dev_root.empty() && !host_.exists(files->dev_root + "/dev"))
        files->dev_root.clear();
    const SubView dev_root(host_, files->dev_root.empty() ? "/" : files->dev_root);
    files->control_nodes = gpu::control_nodes(dev_root, with_display(options_.capabilities));
    if (with_display(options_.capabilities)) {
        for (const std::string& path : host_.matching("/sys/bus/pci/devices/*/drm/*")) {
            const std::size_t drm = path.find("/drm/");
            const std::string card = path.substr(0, drm);
            const std::string node = "/dev/dri/" + path.substr(drm + 5);
            if (!dev_root.exists(node)) continue;
            files->render_nodes[card.substr(card.rfind('/') + 1)].push_back(node);
        }
    }
    const std::lock_guard lock(mutex_);
    files_ = std::move(files);
}

void Artefacts::say_once(const std::string& note) {
    if (said_.size() < 256 && said_.insert(note).second) log::warn(note);
}

void Artefacts::refresh() {
    const std::lock_guard lock(ensure_mutex_);
    refresh_locked();
}

void Artefacts::refresh_locked() {
    const std::string version = gpu::loaded_module_version(host_);
    const auto known = files();
    const auto there = [&](const DriverMount& mount) { return driver_root_.exists(mount.path); };
    if (version == module_version_) {
        if (!known->driver.usable() && MonoClock::now() < next_look_) return;
        if (known->driver.usable() &&
            std::all_of(known->mounts.begin(), known->mounts.end(), there)) {
            return;
        }
    }
    module_version_ = version;
    look();
    next_look_ = MonoClock::now() + kLookAgain;
}

Status Artefacts::ensure(
    const Need& need, std::span<const GivenCard> cards, std::span<const GivenCard> starting
) {
    const std::lock_guard lock(ensure_mutex_);
    const bool staged = remembered("staged", need.staged_files);
    const bool cdi = remembered("cdi", need.cdi_spec);
    if (!staged && !cdi && !need.nvidia_cdi_spec) return ok_status();
    refresh_locked();
    for (const std::string& note : files()->driver.notes) say_once("driver: " + note);
    Status needed = ensure_nodes(cards, starting);
    const auto add = [&](const Status& status, bool is_needed) {
        if (status) return;
        if (!is_needed) say_once("for older containers: " + status.error().message);
        if (is_needed && needed) needed = status;
    };
    if (staged) add(ensure_staged(), need.staged_files);
    if (cdi) add(ensure_spec(kCdiKind, false, cards), need.cdi_spec);
    if (need.nvidia_cdi_spec) add(ensure_spec(kNvidiaCdiKind, need.by_index, cards), true);
    return needed;
}

// What was ever named in answers is kept; a file says that it was.
bool Artefacts::remembered(const char* what, bool needed) const {
    const std::filesystem::path mark = options_.driver_files_dir / (std::string("keep-") + what);
    std::error_code ignored;
    if (std::filesystem::exists(mark, ignored)) return true;
    if (!needed) return false;
    Status made = make_directories(mark.parent_path());
    if (made)
        made = write_file_atomically(mark, "Container answers name this; it is kept.\n", 0644);
    if (!made) log::warn("a mark cannot be written", {{"error", made.error().message}});
    return true;
}

Status Artefacts::ensure_nodes(
    std::span<const GivenCard> cards, std::span<const GivenCard> starting
) {
    const std::string prefix = files()->dev_root;
    const SubView dev_root(host_, prefix.empty() ? "/" : prefix);
    const std::vector<std::string> wanted = nodes_of(cards);
    gpu::DeviceNodePlan plan = gpu::plan_device_nodes(host_, dev_root, wanted);
    if (plan.load_uvm && MonoClock::now() >= next_module_load_) {
        next_module_load_ = MonoClock::now() + kModuleRetry;
        const Status loaded = gpu::load_uvm_module(options_.host_root, kModuleDeadline);
        if (!loaded) {
            say_once("CUDA needs the kernel module nvidia-uvm: " + loaded.error().message);
        }
        plan = gpu::plan_device_nodes(host_, dev_root, wanted);
    }
    for (const std::string& note : plan.notes) say_once(note);
    std::string why;
    if (!plan.nodes.empty() || !plan.links.empty()) {
        const auto root = without_slash(options_.host_root.string()) + prefix;
        const Status made = gpu::make_device_nodes(root.empty() ? "/" : root, plan);
        if (made) {
            log::info(
                "device nodes made", {{"nodes", plan.nodes.size()}, {"links", plan.links.size()}}
            );
        } else {
            why = made.error().message;
            say_once("device nodes: " + why);
        }
        look();
    } else if (files()->control_nodes.empty()) {
        look();  // somebody else made them meanwhile
    }
    for (const std::string& node : nodes_of(starting)) {
        if (dev_root.exists(node)) continue;
        return Error{
            ErrorCode::kUnavailable,
            "device node " + prefix + node + " is missing" +
                (why.empty() ? "; nvidia-modprobe -c0 -u makes it" : " and cannot be made: " + why
                )};
    }
    return ok_status();
}

// What was made of the last driver stays while there is none, or half of one during an upgrade.
Status Artefacts::check_usable(const gpu::Driver& driver) const {
    if (driver.usable()) return ok_status();
    return Error{
        ErrorCode::kUnavailable,
        "libcuda.so.1 was not found below the driver root " + options_.driver_root +
            " (--driver-root)"};
}

Status Artefacts::ensure_staged() {
    const auto known = files();
    EG_TRY_VOID(check_usable(known->driver));
    if (known->driver.kind != gpu::DriverKind::kLinux) return ok_status();
    std::map<std::string, std::string> sources;
    for (const DriverMount& mount : known->mounts) {
        if (!mount.staged.empty()) sources.try_emplace(mount.staged, mount.path);
    }
    const std::string root = driver_root_seen(options_);
    std::vector<StagedFile> staged;
    staged.reserve(sources.size());
    for (const auto& [name, path] : sources) staged.push_back({below(root, path), name});
    return stage_driver(options_.driver_files_dir, known->driver.version, staged);
}

Result<std::string> Artefacts::spec_text(
    std::string_view kind, bool by_index, std::span<const GivenCard> cards
) const {
    const auto known = files();
    const SubView dev_root(host_, known->dev_root.empty() ? "/" : known->dev_root);
    EG_TRY(
        const CdiSpec spec,
        make_cdi_spec(kind, by_index, *known, options_.driver_root, dev_root, cards)
    );
    std::string text = to_text(spec);
    const auto faults = validate_cdi(text);
    if (!faults.empty()) {
        return Error{ErrorCode::kInternal, "the CDI specification is wrong: " + faults.front()};
    }
    return text;
}

Status Artefacts::ensure_spec(
    std::string_view kind, bool by_index, std::span<const GivenCard> cards
) {
    // Without cards (the driver is not up yet) what was written for the last ones stays.
    if (cards.empty()) return ok_status();
    EG_TRY_VOID(check_usable(files()->driver));
    EG_TRY(const std::string text, spec_text(kind, by_index, cards));
    const std::filesystem::path file = options_.cdi_spec_dir / cdi_file_name(kind);
    const auto now = read_file(file, kMostSpec);
    if (now && *now == text) return ok_status();
    EG_TRY_VOID(make_directories(options_.cdi_spec_dir));
    EG_TRY_VOID(write_file_atomically(file, text, 0644));
    log::info(
        "CDI specification written",
        {{"file", file.string()}, {"devices", cards.size()}, {"driver", files()->driver.version}}
    );
    return ok_status();
}

}  // namespace egpu::inject
