#include "doctor/repair.h"

#include <set>

#include "base/files.h"
#include "doctor/enable_cdi.h"
#include "doctor/node_cards.h"
#include "doctor/node_model.h"
#include "doctor/proc_tables.h"
#include "doctor/runtime_files.h"
#include "doctor/text_diff.h"
#include "gpu/make_device_nodes.h"
#include "inject/artefacts.h"

namespace egpu::doctor {
namespace {

// The cards' nodes by the kernel's own list: NVML may not answer while they are missing.
std::vector<std::string> card_nodes(const FileView& files) {
    std::vector<std::string> nodes;
    for (const KernelGpu& gpu : kernel_gpus(files)) {
        if (gpu.minor) nodes.push_back("/dev/nvidia" + std::to_string(*gpu.minor));
    }
    return nodes;
}

void plan_nodes(const Facts& facts, bool nodes, bool links, RepairPlan& out) {
    auto plan = gpu::plan_device_nodes(*facts.files, *facts.files, card_nodes(*facts.files));
    out.notes.insert(out.notes.end(), plan.notes.begin(), plan.notes.end());
    if (!nodes) plan.nodes.clear();
    if (!nodes && !links) plan.links.clear();
    if (plan.nodes.empty() && plan.links.empty()) return;
    PlannedRepair repair;
    repair.kind = nodes ? Repair::kDeviceNodes : Repair::kDevCharLinks;
    repair.title = "make " + std::to_string(plan.nodes.size()) + " device node(s) and " +
                   std::to_string(plan.links.size()) + " link(s)";
    for (const auto& node : plan.nodes) {
        repair.preview += "mknod " + node.path + " c " + std::to_string(node.major) + " " +
                          std::to_string(node.minor) + "\n";
    }
    for (const auto& link : plan.links)
        repair.preview += "ln -s " + link.target + " " + link.path + "\n";
    repair.apply = [root = facts.root, plan] { return gpu::make_device_nodes(root, plan); };
    out.repairs.push_back(std::move(repair));
}

void plan_containerd(const Facts& facts, const std::string& backup_suffix, RepairPlan& out) {
    const NodeModel node = read_node(facts);
    const ContainerdConfig& config = node.containerd;
    const std::string& path = config.enable_cdi_file.empty() ? config.path : config.enable_cdi_file;
    const auto real = facts.files->resolve(path);
    const auto before = facts.files->read(path);
    const auto info = facts.files->look(path);
    if (!real || !before || !info) {
        out.notes.push_back(path + ": " + (before ? "not there" : before.error().message));
        return;
    }
    const auto after = enable_cdi(*before);
    if (!after) {
        out.notes.push_back(path + ": " + after.error().message);
        return;
    }
    if (*after == *before) return;
    const std::string file = (facts.root == "/" ? "" : facts.root) + *real;
    PlannedRepair repair;
    repair.kind = Repair::kContainerdCdi;
    repair.title =
        "switch CDI on in " + path + " (a copy stays in " + path + "." + backup_suffix + ")";
    repair.preview = unified_diff(*before, *after, path);
    repair.after = "systemctl restart " + containerd_unit(node);
    repair.apply =
        [file, backup_suffix, old = *before, text = *after, mode = info->mode]() -> Status {
        EG_TRY(const std::string now, read_file(file));
        if (now != old)
            return Error{
                ErrorCode::kConflict, file + " was changed meanwhile; run the doctor again"};
        EG_TRY_VOID(write_file_atomically(file + "." + backup_suffix, old, mode));
        return write_file_atomically(file, text, mode);
    };
    out.repairs.push_back(std::move(repair));
}

// The spec is made as the agent makes it, with the cards NVML lists, inside the node's root.
void plan_cdi(const Facts& facts, const RepairOptions& options, RepairPlan& out) {
    const NodeModel node = read_node(facts);
    NvmlProbe probe;
    probe.root = facts.root;
    probe.driver_root = node.driver_root;
    probe.library = options.nvml_library;
    PlannedRepair repair;
    repair.kind = Repair::kCdiSpec;
    repair.title = "write /var/run/cdi/" + inject::cdi_file_name(inject::kCdiKind) + " anew";
    for (const GpuFacts& gpu : facts.nvml.gpus) repair.preview += gpu.uuid + " " + gpu.name + "\n";
    repair.apply = [&facts, probe]() -> Status {
        const auto done = with_node_cards(
            *facts.files,
            probe,
            [&probe](std::span<const inject::GivenCard> cards) -> Result<std::string> {
                inject::InjectOptions inject;
                inject.strategy = "cdi";
                inject.driver_root = probe.driver_root;
                EG_TRY(const auto injector, inject::make_injector(inject));
                EG_TRY_VOID(injector->ensure(cards));
                return std::string();
            }
        );
        return done ? ok_status() : Status(done.error());
    };
    out.repairs.push_back(std::move(repair));
}

}  // namespace

RepairPlan plan_repairs(const Report& report, const Facts& facts, const RepairOptions& options) {
    std::set<Repair> wanted;
    for (const CheckResult& check : report.checks) {
        for (const Finding& finding : check.findings) {
            if (finding.repair && finding.severity != Severity::kOk) wanted.insert(*finding.repair);
        }
    }
    RepairPlan out;
    const bool nodes = wanted.count(Repair::kDeviceNodes) != 0;
    const bool links = wanted.count(Repair::kDevCharLinks) != 0;
    if (nodes || links) plan_nodes(facts, nodes, links, out);
    if (wanted.count(Repair::kContainerdCdi) != 0)
        plan_containerd(facts, options.backup_suffix, out);
    if (wanted.count(Repair::kCdiSpec) != 0) plan_cdi(facts, options, out);
    return out;
}

}  // namespace egpu::doctor
