#include "doctor/smoke_judge.h"

#include <algorithm>

#include "base/json.h"
#include "doctor/check.h"

namespace egpu::doctor {
namespace {

const char* cuda_meaning(std::int64_t code) {
    switch (code) {
        case 3:
            return "CUDA is not initialised: is nvidia_uvm loaded?";
        case 34:
            return "the library found is CUDA's stub, not the driver's";
        case 100:
            return "CUDA sees no device: the node was given, the driver refuses it";
        case 802:
            return "the NVSwitch fabric is not ready";
        case 803:
            return "the library and the kernel module are of different drivers";
        case 804:
            return "forward compatibility is not possible on this GPU";
        case 999:
            return "CUDA cannot start: /dev/nvidia-uvm, or the device rules of the container";
        default:
            return "CUDA cannot start in a container";
    }
}

// The program's answer is the last line that is JSON; the runtime may have written others.
json::value answer_in(std::string_view output) {
    json::value found;
    while (!output.empty()) {
        const std::size_t end = std::min(output.find('\n'), output.size());
        const std::string_view line = output.substr(0, end);
        if (line.starts_with('{')) {
            if (auto parsed = json::parse(line);
                parsed && parsed->as_object().contains("devices")) {
                found = std::move(*parsed);
            } else if (parsed && parsed->as_object().contains("error")) {
                found = std::move(*parsed);
            }
        }
        output.remove_prefix(std::min(end + 1, output.size()));
    }
    return found;
}

std::string last_line(std::string_view output) {
    while (output.ends_with('\n')) output.remove_suffix(1);
    return std::string(output.substr(output.rfind('\n') + 1)).substr(0, 500);
}

void judge_devices(const SmokeRun& run, const json::value& answer, Findings& out) {
    const json::array* devices = json::get_array(answer, {"devices"});
    const std::size_t count = devices == nullptr ? 0 : devices->size();
    if (count != 1) {
        Finding& finding = out.error(
            "smoke-wrong-count", run.launcher, "given one card, CUDA sees " + std::to_string(count)
        );
        finding.meaning = count == 0 ? "the device node was not passed on, or may not be opened"
                                     : "containers on this node see cards they were not given";
        finding.fix = run.command;
        return;
    }
    const json::value& device = devices->front();
    const std::int64_t alloc = json::get_int(device, {"alloc"}).value_or(-1);
    if (alloc > 0) {
        Finding& finding = out.error(
            "smoke-no-memory",
            run.launcher,
            "making a context and allocating 1 MiB fails with CUDA error " + std::to_string(alloc)
        );
        finding.meaning =
            alloc == 2 ? "the card's memory is full: something else uses it" : cuda_meaning(alloc);
        finding.fix = "nvidia-smi\n" + run.command;
        return;
    }
    const std::int64_t cuda = json::get_int(answer, {"cudaVersion"}).value_or(0);
    out.ok(
        "smoke",
        run.launcher,
        "a container with " + run.card + " sees " +
            std::string(json::get_string(device, {"name"})) + ", " +
            std::to_string(json::get_int(device, {"memoryMiB"}).value_or(0)) + " MiB, CUDA " +
            std::to_string(cuda / 1000) + "." + std::to_string(cuda % 1000 / 10) +
            ", and nothing else"
    );
}

}  // namespace

void judge_smoke(const SmokeRun& run, CheckResult& check) {
    Findings out(check);
    if (run.result.timed_out) {
        Finding& finding = out.error(
            "smoke-timeout", run.launcher, "the container did not end in time; it was removed"
        );
        finding.meaning = "the runtime or the GPU hangs";
        finding.fix = "dmesg | grep -i nvrm; journalctl -u containerd -n 50";
        return;
    }
    const json::value answer = answer_in(run.result.output);
    if (!answer.is_object()) {
        Finding& finding = out.error(
            "smoke-start-failed",
            run.launcher,
            "exit status " + std::to_string(run.result.exit_status) + ": " +
                last_line(run.result.output)
        );
        finding.meaning = "the runtime cannot start a container with the card";
        finding.fix = run.command;
        return;
    }
    const std::string_view error = json::get_string(answer, {"error"});
    if (!error.empty()) {
        Finding& finding = out.error("smoke-no-library", run.launcher, std::string(error));
        finding.meaning = "the driver's library does not load in a container";
        finding.fix = run.command;
        return;
    }
    const std::int64_t init = json::get_int(answer, {"cuInit"}).value_or(-1);
    if (init != 0) {
        Finding& finding =
            out.error("smoke-cuinit", run.launcher, "cuInit gives error " + std::to_string(init));
        finding.meaning = cuda_meaning(init);
        finding.fix = "dmesg | grep -i nvrm\n" + run.command;
        return;
    }
    judge_devices(run, answer, out);
}

}  // namespace egpu::doctor
