#include "cli/cdi_command.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "base/file_view.h"
#include "base/files.h"
#include "base/json.h"
#include "gpu/inventory.h"
#include "gpu/nvml.h"
#include "inject/artefacts.h"
#include "inject/cdi_validate.h"

namespace egpu::cli {
namespace {

struct Flags {
    std::string driver_root = "/";
    std::string dev_root;
    std::string host_root = "/";
    std::string capabilities = "compute,utility,video";
    std::string nvml_library = "libnvidia-ml.so.1";
    std::string output;
    bool by_index = false;
    std::vector<std::string> folders{"/etc/cdi", "/var/run/cdi"};
    std::vector<std::string> files;
};

int failed(const Error& error) {
    std::fprintf(stderr, "edge-gpu cdi: %s\n", error.message.c_str());
    return 1;
}

Result<std::vector<inject::GivenCard>> cards_of_this_node(
    const std::string& library, const inject::InjectOptions& options
) {
    gpu::Nvml nvml;
    EG_TRY_VOID(nvml.open(library, inject::driver_root_seen(options)));
    gpu::EnumerateOptions enumerate;
    enumerate.sysfs_root = (options.host_root / "sys").string();
    enumerate.proc_root = (options.host_root / "proc").string();
    EG_TRY(const gpu::Enumeration found, gpu::enumerate(nvml, enumerate, {}));
    std::vector<inject::GivenCard> cards;
    for (const gpu::CardInfo& info : found.cards) {
        cards.push_back(
            {info.card.uuid, info.card.index, info.index_text, info.device_nodes, info.pci_bus_id}
        );
    }
    if (cards.empty()) return Error{ErrorCode::kNotFound, "the driver lists no card"};
    return cards;
}

Result<std::string> generate(const Flags& flags) {
    inject::InjectOptions options;
    options.driver_root = flags.driver_root;
    options.dev_root = flags.dev_root.empty() ? flags.driver_root : flags.dev_root;
    options.host_root = flags.host_root;
    EG_TRY(options.capabilities, gpu::parse_capabilities(flags.capabilities));
    EG_TRY(const auto cards, cards_of_this_node(flags.nvml_library, options));
    const inject::Artefacts artefacts(options);
    for (const std::string& note : artefacts.files()->driver.notes) {
        std::fprintf(stderr, "edge-gpu cdi: %s\n", note.c_str());
    }
    if (!artefacts.files()->driver.usable()) {
        return Error{
            ErrorCode::kNotFound,
            "libcuda.so.1 was not found below " + flags.driver_root + " (--driver-root)"};
    }
    return artefacts.spec_text(inject::kCdiKind, flags.by_index, cards);
}

int run_generate(const Flags& flags) {
    const auto text = generate(flags);
    if (!text) return failed(text.error());
    if (flags.output.empty() || flags.output == "-") {
        std::fputs(text->c_str(), stdout);
        return 0;
    }
    const std::filesystem::path file = flags.output;
    Status written = ok_status();
    if (file.has_parent_path()) written = make_directories(file.parent_path());
    if (written) written = write_file_atomically(file, *text, 0644);
    return written ? 0 : failed(written.error());
}

// Every device of every JSON specification; 1 when one is wrong.
int run_list(const Flags& flags) {
    const HostView view(flags.host_root);
    int status = 0;
    bool any = false;
    for (const std::string& folder : flags.folders) {
        const auto names = view.list(folder);
        if (!names) continue;
        for (const std::string& name : *names) {
            const std::string path = folder + "/" + name;
            if (name.ends_with(".yaml") || name.ends_with(".yml")) {
                std::fprintf(stderr, "%s: YAML is not read here\n", path.c_str());
                continue;
            }
            if (!name.ends_with(".json")) continue;
            any = true;
            const auto text = view.read(path, 16U << 20);
            const auto spec = text ? json::parse(*text) : Result<json::value>(text.error());
            if (!spec || !inject::validate_cdi(*text).empty()) {
                std::fprintf(stderr, "%s: wrong; edge-gpu cdi validate says why\n", path.c_str());
                status = 1;
                continue;
            }
            const std::string kind(json::get_string(*spec, {"kind"}));
            for (const auto& device : *json::get_array(*spec, {"devices"})) {
                const std::string device_name(json::get_string(device, {"name"}));
                std::printf("%s=%s\t%s\n", kind.c_str(), device_name.c_str(), path.c_str());
            }
        }
    }
    if (!any) {
        std::string looked;
        for (const std::string& folder : flags.folders)
            looked += (looked.empty() ? "" : ", ") + folder;
        std::fprintf(
            stderr, "no CDI specification in %s; edge-gpu cdi generate prints one\n", looked.c_str()
        );
    }
    return status;
}

int run_validate(const Flags& flags) {
    int status = 0;
    for (const std::string& file : flags.files) {
        const auto text = read_file(file);
        if (!text) {
            status = failed(text.error());
            continue;
        }
        const auto faults = inject::validate_cdi(*text);
        for (const std::string& fault : faults) {
            std::printf("%s: %s\n", file.c_str(), fault.c_str());
        }
        if (faults.empty()) std::printf("%s: ok\n", file.c_str());
        if (!faults.empty()) status = 1;
    }
    return status;
}

}  // namespace

int run_cdi(int argc, char** argv) {
    Flags flags;
    CLI::App app{"CDI specifications of this node's cards.", "edge-gpu cdi"};
    app.require_subcommand(1);
    auto* generating = app.add_subcommand(
        "generate",
        "the specification that --injection cdi uses, for podman --device edge-gpu.io/gpu=UUID"
    );
    generating->add_option("--output", flags.output, "file to write; default: standard output");
    generating->add_option("--driver-root", flags.driver_root, "root of the driver's files")
        ->capture_default_str();
    generating->add_option("--dev-root", flags.dev_root, "path that holds /dev [the driver root]");
    generating->add_option("--host-root", flags.host_root, "where the host's root is seen")
        ->capture_default_str();
    generating->add_option("--driver-capabilities", flags.capabilities, "which files")
        ->capture_default_str();
    generating->add_option("--nvml-library", flags.nvml_library, "soname or path of NVML")
        ->capture_default_str();
    generating->add_flag("--by-index", flags.by_index, "name devices 0, 1, … instead of by UUID");
    auto* listing = app.add_subcommand("list", "the devices of all specifications on this node");
    listing->add_option("--spec-dir", flags.folders, "folders to look in")->capture_default_str();
    listing->add_option("--host-root", flags.host_root, "where the host's root is seen");
    auto* validating =
        app.add_subcommand("validate", "checks files by the CDI specification's rules");
    validating->add_option("FILE", flags.files, "JSON files")->required();
    try {
        app.parse(argc, argv);
    } catch (const CLI::CallForHelp& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        const bool which = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr &&
                           app.get_subcommands().empty();
        std::fprintf(
            stderr,
            "edge-gpu cdi: %s (--help lists the flags)\n",
            which ? "generate, list or validate is missing" : error.what()
        );
        return 2;
    }
    if (generating->parsed()) return run_generate(flags);
    if (listing->parsed()) return run_list(flags);
    return run_validate(flags);
}

}  // namespace egpu::cli
