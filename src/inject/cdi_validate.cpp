#include "inject/cdi_validate.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <initializer_list>
#include <set>

#include "base/json.h"

namespace egpu::inject {
namespace {

constexpr std::size_t kMostBytes = 16U << 20;
constexpr std::array kVersions{
    "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0"};
constexpr std::array kHooks{
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"};

bool letter(char c) {
    return std::isalpha(static_cast<unsigned char>(c)) != 0;
}
bool alnum(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

// Begins with a letter, ends with a letter or digit, between them also what `between` has.
bool name_of(std::string_view text, std::string_view between, bool digit_first) {
    if (text.empty() || !(letter(text.front()) || (digit_first && alnum(text.front()))))
        return false;
    if (!alnum(text.back())) return false;
    return std::all_of(text.begin(), text.end(), [&](char c) {
        return alnum(c) || between.find(c) != std::string_view::npos;
    });
}

class Validator {
  public:
    std::vector<std::string> faults;

    void spec(const json::value& root) {
        fields(root, "", {"cdiVersion", "kind", "annotations", "devices", "containerEdits"});
        const std::string_view version = text(root, "", "cdiVersion", true);
        const auto known = std::find(kVersions.begin(), kVersions.end(), version);
        if (!version.empty() && known == kVersions.end()) {
            fault(
                "cdiVersion",
                "\"" + std::string(version) + "\" is not a version from 0.3.0 to 1.1.0"
            );
        }
        kind(text(root, "", "kind", true));
        annotations(root, "");
        if (const auto* edits_of_all = json::find(root, {"containerEdits"})) {
            edits(*edits_of_all, "containerEdits", false);
        }
        devices(root);
        if (known != kVersions.end() && needs_ > known - kVersions.begin()) {
            fault(
                "cdiVersion",
                std::string(version) + " has no " + needs_what_ + "; that needs " +
                    kVersions[static_cast<std::size_t>(needs_)]
            );
        }
    }

  private:
    void fault(const std::string& where, const std::string& what) {
        faults.push_back((where.empty() ? "" : where + ": ") + what);
    }
    static std::string at(const std::string& where, std::string_view field) {
        return where.empty() ? std::string(field) : where + "." + std::string(field);
    }
    // A feature that came with kVersions[version].
    void needs(std::ptrdiff_t version, const char* what) {
        if (version > needs_) {
            needs_ = version;
            needs_what_ = what;
        }
    }

    // False when it is no object.
    bool fields(
        const json::value& v,
        const std::string& where,
        std::initializer_list<std::string_view> known
    ) {
        if (!v.is_object()) {
            fault(where, "is not an object");
            return false;
        }
        for (const auto& member : v.get_object()) {
            const std::string_view key(member.key().data(), member.key().size());
            if (std::find(known.begin(), known.end(), key) == known.end()) {
                fault(at(where, key), "unknown field");
            }
        }
        return true;
    }

    std::string_view text(
        const json::value& v, const std::string& where, std::string_view field, bool required
    ) {
        const auto* found = json::find(v, {field});
        if (found == nullptr) {
            if (required) fault(at(where, field), "is missing");
            return {};
        }
        if (!found->is_string()) {
            fault(at(where, field), "is not a string");
            return {};
        }
        const auto& value = found->get_string();
        if (required && value.empty()) fault(at(where, field), "is empty");
        return {value.data(), value.size()};
    }

    const json::array* list(
        const json::value& v, const std::string& where, std::string_view field
    ) {
        const auto* found = json::find(v, {field});
        if (found == nullptr || found->is_null()) return nullptr;
        if (!found->is_array()) {
            fault(at(where, field), "is not a list");
            return nullptr;
        }
        return &found->get_array();
    }

    void strings(const json::value& v, const std::string& where, std::string_view field) {
        const auto* values = list(v, where, field);
        if (values == nullptr) return;
        for (const auto& value : *values) {
            if (!value.is_string()) fault(at(where, field), "holds something that is not a string");
        }
    }

    void number(const json::value& v, const std::string& where, std::string_view field) {
        if (json::find(v, {field}) == nullptr) return;
        const auto value = json::get_int(v, {field});
        if (!value || *value < 0 || *value > 0xFFFFFFFFLL)
            fault(at(where, field), "is not a number");
    }

    void kind(std::string_view value) {
        if (value.empty()) return;
        const std::size_t slash = value.find('/');
        const std::string_view vendor = value.substr(0, slash);
        const std::string_view device_class =
            slash == std::string_view::npos ? std::string_view() : value.substr(slash + 1);
        if (slash == std::string_view::npos || !name_of(vendor, "_-.", false) ||
            !name_of(device_class, "_-.", false)) {
            fault("kind", "\"" + std::string(value) + "\" is not VENDOR/CLASS");
        } else if (device_class.find('.') != std::string_view::npos) {
            needs(3, "dot in a class");
        }
    }

    void annotations(const json::value& v, const std::string& where) {
        const auto* found = json::find(v, {"annotations"});
        if (found == nullptr) return;
        needs(3, "annotations");
        if (!found->is_object()) {
            fault(at(where, "annotations"), "is not an object");
            return;
        }
        for (const auto& member : found->get_object()) {
            if (!member.value().is_string()) fault(at(where, "annotations"), "values are strings");
        }
    }

    void devices(const json::value& root) {
        const auto* all = list(root, "", "devices");
        if (all == nullptr || all->empty()) {
            fault("devices", "there are none");
            return;
        }
        std::set<std::string_view> names;
        for (std::size_t i = 0; i < all->size(); ++i) {
            const std::string where = "devices[" + std::to_string(i) + "]";
            const auto& device = (*all)[i];
            if (!fields(device, where, {"name", "annotations", "containerEdits"})) continue;
            const std::string_view name = text(device, where, "name", true);
            if (!name.empty() && !name_of(name, "_-.:", true)) {
                fault(where + ".name", "\"" + std::string(name) + "\" is not a device's name");
            }
            if (!name.empty() && !letter(name.front()))
                needs(2, "device name that begins with a digit");
            if (!name.empty() && !names.insert(name).second) {
                fault(where + ".name", "\"" + std::string(name) + "\" is there twice");
            }
            annotations(device, where);
            const auto* of_device = json::find(device, {"containerEdits"});
            if (of_device == nullptr) {
                fault(where + ".containerEdits", "is missing");
            } else {
                edits(*of_device, where + ".containerEdits", true);
            }
        }
    }

    void edits(const json::value& v, const std::string& where, bool must_do_something) {
        if (!fields(
                v,
                where,
                {"env",
                 "deviceNodes",
                 "netDevices",
                 "hooks",
                 "mounts",
                 "intelRdt",
                 "additionalGids"}
            )) {
            return;
        }
        if (must_do_something && v.get_object().empty()) fault(where, "is empty");
        env(v, where);
        each(v, where, "deviceNodes", [&](const auto& node, const auto& at_node) {
            device_node(node, at_node);
        });
        each(v, where, "mounts", [&](const auto& mount, const auto& at_mount) {
            if (!fields(mount, at_mount, {"hostPath", "containerPath", "options", "type"})) return;
            text(mount, at_mount, "hostPath", true);
            text(mount, at_mount, "containerPath", true);
            strings(mount, at_mount, "options");
            if (!text(mount, at_mount, "type", false).empty()) needs(1, "mount type");
        });
        each(v, where, "hooks", [&](const auto& hook, const auto& at_hook) {
            if (!fields(hook, at_hook, {"hookName", "path", "args", "env", "timeout"})) return;
            const std::string_view name = text(hook, at_hook, "hookName", true);
            if (!name.empty() && std::find(kHooks.begin(), kHooks.end(), name) == kHooks.end()) {
                fault(at_hook + ".hookName", "\"" + std::string(name) + "\" is not a hook");
            }
            text(hook, at_hook, "path", true);
            strings(hook, at_hook, "args");
            env(hook, at_hook);
            number(hook, at_hook, "timeout");
        });
        each(v, where, "netDevices", [&](const auto& device, const auto& at_device) {
            needs(7, "netDevices");
            if (!fields(device, at_device, {"hostInterfaceName", "name"})) return;
            text(device, at_device, "hostInterfaceName", true);
            text(device, at_device, "name", true);
        });
        if (const auto* rdt = json::find(v, {"intelRdt"})) {
            needs(4, "intelRdt");
            fields(
                *rdt,
                where + ".intelRdt",
                {"closID",
                 "l3CacheSchema",
                 "memBwSchema",
                 "schemata",
                 "enableCMT",
                 "enableMBM",
                 "enableMonitoring"}
            );
        }
        if (const auto* gids = list(v, where, "additionalGids")) {
            needs(4, "additionalGids");
            for (const auto& gid : *gids) {
                if (!gid.is_int64() || gid.get_int64() < 0) {
                    fault(where + ".additionalGids", "holds something that is not a group id");
                }
            }
        }
    }

    template <class F>
    void each(const json::value& v, const std::string& where, const char* field, F look) {
        const auto* all = list(v, where, field);
        for (std::size_t i = 0; all != nullptr && i < all->size(); ++i) {
            look((*all)[i], where + "." + field + "[" + std::to_string(i) + "]");
        }
    }

    void env(const json::value& v, const std::string& where) {
        const auto* variables = list(v, where, "env");
        if (variables == nullptr) return;
        for (const auto& variable : *variables) {
            const bool fine = variable.is_string() && variable.get_string().find('=') > 0 &&
                              variable.get_string().find('=') != json::string::npos;
            if (!fine) fault(where + ".env", "holds something that is not NAME=VALUE");
        }
    }

    void device_node(const json::value& node, const std::string& where) {
        if (!fields(
                node,
                where,
                {"path",
                 "hostPath",
                 "type",
                 "major",
                 "minor",
                 "fileMode",
                 "permissions",
                 "uid",
                 "gid"}
            )) {
            return;
        }
        text(node, where, "path", true);
        if (!text(node, where, "hostPath", false).empty()) needs(2, "hostPath of a device node");
        const std::string_view type = text(node, where, "type", false);
        if (!type.empty() && type != "c" && type != "b" && type != "u" && type != "p") {
            fault(where + ".type", "\"" + std::string(type) + "\" is none of b, c, u, p");
        }
        for (const char* field : {"major", "minor", "fileMode", "uid", "gid"}) {
            number(node, where, field);
        }
        const std::string_view permissions = text(node, where, "permissions", false);
        if (permissions.find_first_not_of("rwm") != std::string_view::npos) {
            fault(where + ".permissions", "\"" + std::string(permissions) + "\" is not of r, w, m");
        }
    }

    std::ptrdiff_t needs_ = 0;
    const char* needs_what_ = "";
};

}  // namespace

std::vector<std::string> validate_cdi(std::string_view text) {
    if (text.size() > kMostBytes) return {"larger than 16 MiB"};
    const auto root = json::parse(text);
    if (!root) return {root.error().message};
    Validator validator;
    validator.spec(*root);
    return std::move(validator.faults);
}

}  // namespace egpu::inject
