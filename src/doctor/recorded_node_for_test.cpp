#include "doctor/recorded_node_for_test.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>

#include "base/files.h"
#include "doctor/nvml_probe.h"

namespace egpu::doctor {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "recorded node: %s\n", what.c_str());
    std::abort();
}

std::string must_read(const fs::path& path) {
    auto text = read_file(path);
    if (!text) fail(text.error().message);
    return *text;
}

const fs::path& folder() {
    static const fs::path path = EDGE_GPU_NODES;
    return path;
}

// Manifest entries with their content lines, by path.
using Tree = std::map<std::string, std::string>;

Tree read_tree(const std::string& text) {
    Tree tree;
    std::string* open = nullptr;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (line.empty() || line[0] == '#') continue;
        if (line[0] == '|' || line[0] == '=') {
            if (open == nullptr) fail("content without a file: " + line);
            *open += line + "\n";
            continue;
        }
        const std::size_t first = line.find(' ');
        const std::string path = line.substr(first + 1, line.find(' ', first + 1) - first - 1);
        open = &tree[path];
        *open = line + "\n";
    }
    return tree;
}

void remove_below(Tree& tree, const std::string& path) {
    const auto before = tree.size();
    for (auto at = tree.lower_bound(path); at != tree.end() && at->first.starts_with(path);) {
        const bool below = at->first == path || at->first[path.size()] == '/';
        at = below ? tree.erase(at) : std::next(at);
    }
    if (tree.size() == before) fail("nothing to remove at " + path);
}

void merge_patch(json::value& target, const json::value& patch) {
    if (!patch.is_object()) {
        target = patch;
        return;
    }
    if (!target.is_object()) target = json::object();
    for (const auto& [key, value] : patch.as_object()) {
        if (value.is_null()) {
            target.as_object().erase(key);
        } else {
            merge_patch(target.as_object()[key], value);
        }
    }
}

ApiFacts read_api(const json::value& from) {
    ApiFacts api;
    if (!from.is_object()) return api;
    api.asked = true;
    api.source = json::get_string(from, {"source"});
    api.server = json::get_string(from, {"server"});
    api.error = json::get_string(from, {"error"});
    api.node_name = json::get_string(from, {"node"});
    if (!api.error.empty()) return api;
    const auto part = [&from](const char* key) {
        const json::value* found = json::find(from, {key});
        return found == nullptr ? json::value() : *found;
    };
    api.node = part("object");
    api.pods = part("pods");
    api.runtime_classes = part("runtimeClasses");
    if (const json::value* ahead = json::find(from, {"clockAhead"}))
        api.clock_ahead_s = ahead->to_number<double>();
    return api;
}

void read_facts(const json::value& from, Facts& facts) {
    auto nvml = nvml_from_json(from.at("nvml"));
    if (!nvml) fail("nvml: " + nvml.error().message);
    facts.nvml = *nvml;
    int pid = 100;
    for (const auto& [exe, command] : from.at("processes").as_object()) {
        Process process;
        process.pid = pid++;
        process.exe = exe;
        std::istringstream words{std::string(command.as_string())};
        for (std::string word; words >> word;) process.args.push_back(word);
        facts.processes.push_back(std::move(process));
    }
    for (const auto& [path, error] : from.at("sockets").as_object()) {
        facts.sockets[path] = {error.as_string().empty(), std::string(error.as_string())};
    }
    for (const auto& [program, text] : from.at("versions").as_object()) {
        facts.versions[program] = std::string(text.as_string());
    }
    const json::value* api = json::find(from, {"api"});
    if (api != nullptr) facts.api = read_api(*api);
    for (const json::value& line : from.at("kernelLog").at("lines").as_array()) {
        facts.kernel_log.lines.emplace_back(line.as_string());
    }
    if (const json::value* word = json::find(from, {"clockSynchronised"}))
        facts.clock_synchronised = word->as_bool();
}

RecordedNode make(const std::string& name, const Tree& tree, const json::value& facts) {
    std::string manifest;
    for (const auto& [path, text] : tree) manifest += text;
    RecordedNode node;
    node.name = name;
    auto view = RecordedView::parse(manifest);
    if (!view) fail(name + ": " + view.error().message);
    node.files = std::move(*view);
    node.facts.files = node.files.get();
    read_facts(facts, node.facts);
    return node;
}

json::value must_parse(const std::string& text, const std::string& where) {
    auto parsed = json::parse(text);
    if (!parsed) fail(where + ": " + parsed.error().message);
    return *parsed;
}

}  // namespace

RecordedNode load_healthy_node() {
    return make(
        "healthy",
        read_tree(must_read(folder() / "healthy.tree")),
        must_parse(must_read(folder() / "healthy.json"), "healthy.json")
    );
}

RecordedNode load_broken_node(const std::string& name) {
    Tree tree = read_tree(must_read(folder() / "healthy.tree"));
    json::value facts = must_parse(must_read(folder() / "healthy.json"), "healthy.json");
    std::map<std::string, std::string> sections;
    std::string section;
    std::istringstream lines(must_read(folder() / (name + ".fault")));
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with('[') && line.ends_with(']') && section != "[tree]") {
            section = line;
        } else if (line == "[facts]" || line == "[remove]" || line == "[expect]") {
            section = line;
        } else {
            sections[section] += line + "\n";
        }
    }
    std::istringstream removed(sections["[remove]"]);
    for (std::string path; std::getline(removed, path);) {
        if (!path.empty()) remove_below(tree, path);
    }
    for (auto& [path, text] : read_tree(sections["[tree]"])) tree[path] = text;
    if (!sections["[facts]"].empty()) merge_patch(facts, must_parse(sections["[facts]"], name));
    RecordedNode node = make(name, tree, facts);
    std::istringstream expect(sections["[expect]"]);
    expect >> node.expected_id >> node.expected_severity;
    return node;
}

std::vector<std::string> broken_node_names() {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder())) {
        if (entry.path().extension() == ".fault") names.push_back(entry.path().stem().string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

}  // namespace egpu::doctor
