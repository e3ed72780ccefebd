#include <gtest/gtest.h>

#include "doctor/edits_json.h"
#include "doctor/smoke_judge.h"
#include "doctor/smoke_spec.h"

namespace egpu::doctor {
namespace {

inject::ContainerEdits sample_edits() {
    inject::ContainerEdits edits;
    edits.envs["NVIDIA_VISIBLE_DEVICES"] = "void";
    edits.mounts.push_back({"/var/lib/edge-gpu/driver/current", "/usr/local/nvidia", true});
    edits.devices.push_back({"/dev/nvidiactl", "/dev/nvidiactl", "rw"});
    edits.devices.push_back({"/host/dev/nvidia0", "/dev/nvidia0", "rw"});
    return edits;
}

TEST(SmokeSpec, gives_the_cards_devices_and_nothing_else) {
    SmokeContainer container;
    container.rootfs = "/x/rootfs";
    container.args = {"/edge-gpu", "cuda-probe"};
    container.cgroup = "/edge-gpu-smoke-1";
    container.edits = sample_edits();
    container.numbers = {{"/dev/nvidiactl", {195, 255}}, {"/host/dev/nvidia0", {195, 0}}};
    const json::value spec = smoke_spec(container);
    EXPECT_EQ(
        json::to_text(*json::find(spec, {"linux", "resources"})),
        R"({"devices":[{"allow":false,"access":"rwm"},)"
        R"({"allow":true,"type":"c","major":195,"minor":255,"access":"rw"},)"
        R"({"allow":true,"type":"c","major":195,"minor":0,"access":"rw"}]})"
    );
    EXPECT_EQ(json::get_array(spec, {"linux", "devices"})->size(), 2U);
    EXPECT_EQ(json::find(spec, {"process", "capabilities"}), nullptr);
    EXPECT_TRUE(json::get_bool(spec, {"process", "noNewPrivileges"}));
    EXPECT_TRUE(json::get_bool(spec, {"root", "readonly"}));
    const json::value& mount = json::get_array(spec, {"mounts"})->back();
    EXPECT_EQ(json::get_string(mount, {"source"}), "/var/lib/edge-gpu/driver/current");
}

TEST(EditsJson, is_read_back_as_written) {
    const inject::ContainerEdits edits = sample_edits();
    EXPECT_EQ(edits_from_json(edits_to_json(edits)), edits);
    EXPECT_EQ(edits_from_json(json::value("x")), inject::ContainerEdits());
}

CheckResult judged(std::string output, int exit_status = 0, bool timed_out = false) {
    SmokeRun run;
    run.launcher = "containerd";
    run.command = "ctr run";
    run.card = "/dev/nvidia0";
    run.result.output = std::move(output);
    run.result.exit_status = exit_status;
    run.result.timed_out = timed_out;
    CheckResult check;
    judge_smoke(run, check);
    return check;
}

std::string id_of(const CheckResult& check) {
    return check.findings.size() == 1 ? check.findings[0].id
                                      : std::to_string(check.findings.size());
}

TEST(JudgeSmoke, knows_what_each_outcome_means) {
    const std::string device = R"({"code":0,"name":"Tesla T4","memoryMiB":15109,"alloc":0})";
    const auto answer = [](const std::string& devices, int init = 0) {
        return R"({"cuInit":)" + std::to_string(init) + R"(,"cudaVersion":11040,"devices":[)" +
               devices + "]}\n";
    };
    const CheckResult good = judged("time=x level=warning msg=noise\n" + answer(device));
    ASSERT_EQ(id_of(good), "smoke");
    EXPECT_EQ(
        good.findings[0].found,
        "a container with /dev/nvidia0 sees Tesla T4, 15109 MiB, CUDA 11.4, and nothing else"
    );
    EXPECT_EQ(id_of(judged(answer(device + "," + device))), "smoke-wrong-count");
    EXPECT_EQ(id_of(judged(answer(""))), "smoke-wrong-count");
    EXPECT_EQ(id_of(judged(answer("", 999), 1)), "smoke-cuinit");
    EXPECT_EQ(
        id_of(judged(R"({"error":"libcuda.so.1: cannot open shared object file"})", 1)),
        "smoke-no-library"
    );
    EXPECT_EQ(id_of(judged(answer(R"({"name":"x","alloc":2})"))), "smoke-no-memory");
    EXPECT_EQ(id_of(judged("", 0, true)), "smoke-timeout");
    const CheckResult failed = judged("ctr: first\nctr: runc create failed: no such device\n", 1);
    ASSERT_EQ(id_of(failed), "smoke-start-failed");
    EXPECT_EQ(failed.findings[0].found, "exit status 1: ctr: runc create failed: no such device");
    for (const char* rubbish : {"{", "{}", "[]", "{\"devices\":7}", "{\"cuInit\":0}"}) {
        EXPECT_EQ(judged(rubbish).severity(), Severity::kError) << rubbish;
    }
}

}  // namespace
}  // namespace egpu::doctor
