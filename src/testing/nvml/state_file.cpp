// The text form of a SimNode: only what differs from the profile is written.
#include <algorithm>
#include <charconv>
#include <sstream>

#include "testing/nvml/profile.h"

namespace egpu::testing {
namespace {

struct Flag {
    const char* name;
    bool SimGpu::*member;
};
constexpr Flag kFlags[] = {
    {"lost", &SimGpu::lost},
    {"fallen_off_bus", &SimGpu::fallen},
    {"removed", &SimGpu::removed},
    {"failing", &SimGpu::failing},
    {"remap_failed", &SimGpu::remap_failed},
    {"mig", &SimGpu::mig},
    {"nvlink_down", &SimGpu::nvlink_down},
};
struct Number {
    const char* name;
    unsigned SimGpu::*member;
};
constexpr Number kNumbers[] = {
    {"recovery_action", &SimGpu::recovery_action},
    {"fabric_state", &SimGpu::fabric_state},
    {"slow_ms", &SimGpu::slow_ms},
};

template <class T>
bool number(const std::string& text, T& out) {
    const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), out);
    return code == std::errc() && end == text.data() + text.size();
}

bool read_gpu(const std::vector<std::string>& words, SimNode& out) {
    std::size_t position = 0;
    if (words.size() < 3 || !number(words[1], position) || position >= out.gpus.size())
        return false;
    SimGpu& gpu = out.gpus[position];
    const std::string& fact = words[2];
    if (fact == "instances") {
        const bool mig = gpu.mig;
        if (!set_instances(out, static_cast<int>(position), {words.begin() + 3, words.end()})) {
            return false;
        }
        gpu.mig = mig;
        return true;
    }
    unsigned value = 0;
    if (words.size() != 4 || !number(words[3], value)) {
        return words.size() == 4 && fact == "uncorrected_ecc" &&
               number(words[3], gpu.uncorrected_ecc);
    }
    if (fact == "uncorrected_ecc") return number(words[3], gpu.uncorrected_ecc);
    for (const auto& flag : kFlags) {
        if (fact == flag.name) {
            gpu.*flag.member = value != 0;
            return true;
        }
    }
    for (const auto& n : kNumbers) {
        if (fact == n.name) {
            gpu.*n.member = value;
            return true;
        }
    }
    return false;
}

bool read_event(const std::vector<std::string>& words, SimNode& out) {
    SimEvent event;
    if (words.size() != 7 || !number(words[1], event.serial) || !number(words[2], event.gpu) ||
        !number(words[3], event.type) || !number(words[4], event.data) ||
        !number(words[5], event.gpu_instance) || !number(words[6], event.compute_instance)) {
        return false;
    }
    if (event.gpu < 0 || event.gpu >= static_cast<int>(out.gpus.size())) return false;
    out.events.push_back(event);
    return true;
}

bool read_line(const std::vector<std::string>& words, SimNode& out) {
    const std::string& key = words[0];
    if (key == "cuda") {
        std::string rest;
        for (std::size_t i = 1; i < words.size(); ++i) rest += (i > 1 ? " " : "") + words[i];
        out.cuda.push_back(rest);
        return !rest.empty();
    }
    if (key == "gpu") return read_gpu(words, out);
    if (key == "event") return read_event(words, out);
    if (words.size() != 2) return false;
    if (key == "driver_version")
        out.driver_version = words[1];
    else if (key == "driver_loaded")
        out.driver_loaded = words[1] != "0";
    else if (key == "visible_in")
        out.visible_in = words[1];
    else if (key == "lists")
        out.lists = words[1];
    else if (key == "cards")
        out.cards = words[1];
    else if (key == "hide")
        out.hidden.push_back(words[1]);
    else if (key == "count")
        return number(words[1], out.count);
    else if (key == "slow_ms")
        return number(words[1], out.slow_ms);
    else
        return false;
    return true;
}

}  // namespace

std::string write_state(const SimNode& node) {
    SimNode plain;
    make_profile(node.profile, node.node, plain);
    std::ostringstream out;
    out << "# simulated NVML node; follows live. See src/testing/nvml/profile.h\n"
        << "profile " << node.profile << " " << node.node << "\n"
        << "driver_version " << node.driver_version << "\n"
        << "driver_loaded " << (node.driver_loaded ? 1 : 0) << "\n";
    if (node.count >= 0) out << "count " << node.count << "\n";
    if (!node.visible_in.empty()) out << "visible_in " << node.visible_in << "\n";
    if (!node.lists.empty()) out << "lists " << node.lists << "\n";
    if (!node.cards.empty()) out << "cards " << node.cards << "\n";
    for (const auto& line : node.cuda) out << "cuda " << line << "\n";
    if (node.slow_ms != 0) out << "slow_ms " << node.slow_ms << "\n";
    for (const auto& symbol : node.hidden) out << "hide " << symbol << "\n";
    for (std::size_t i = 0; i < node.gpus.size(); ++i) {
        const SimGpu& gpu = node.gpus[i];
        const SimGpu& base = plain.gpus[i];
        if (gpu.mig || base.mig) {
            out << "gpu " << i << " instances";
            for (const auto& instance : gpu.instances) out << " " << instance.profile;
            out << "\n";
        }
        for (const auto& flag : kFlags) {
            if (gpu.*flag.member != base.*flag.member) {
                out << "gpu " << i << " " << flag.name << " " << (gpu.*flag.member ? 1 : 0) << "\n";
            }
        }
        for (const auto& n : kNumbers) {
            if (gpu.*n.member != base.*n.member) {
                out << "gpu " << i << " " << n.name << " " << gpu.*n.member << "\n";
            }
        }
        if (gpu.uncorrected_ecc != 0) {
            out << "gpu " << i << " uncorrected_ecc " << gpu.uncorrected_ecc << "\n";
        }
    }
    for (const auto& e : node.events) {
        out << "event " << e.serial << " " << e.gpu << " " << e.type << " " << e.data << " "
            << e.gpu_instance << " " << e.compute_instance << "\n";
    }
    return out.str();
}

bool read_state(std::string_view text, SimNode& out, std::string& error) {
    std::istringstream in{std::string(text)};
    std::string line;
    bool profile_seen = false;
    for (int nr = 1; std::getline(in, line); ++nr) {
        if (const auto comment = line.find('#'); comment != std::string::npos) line.resize(comment);
        std::istringstream split(line);
        std::vector<std::string> words;
        for (std::string word; split >> word;) words.push_back(word);
        if (words.empty()) continue;
        bool ok = false;
        if (!profile_seen) {
            ok =
                words.size() == 3 && words[0] == "profile" && make_profile(words[1], words[2], out);
            profile_seen = ok;
        } else {
            ok = read_line(words, out);
        }
        if (!ok) {
            error = "line " + std::to_string(nr) + " is not understood: " + line;
            return false;
        }
    }
    if (!profile_seen) error = "the first line must be \"profile NAME NODE\"";
    return profile_seen;
}

}  // namespace egpu::testing
