// `edge-gpu doctor --smoke` on a simulated node: a real containerd (or runc alone) starts a
// container with one of two simulated cards. All of it runs in its own mount and PID namespaces, so
// nothing of this machine's Kubernetes, devices or containers is seen or touched, and everything is
// gone when the script ends.
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/json.h"
#include "command.h"
#include "testing/nvml/sim_state.h"

namespace egpu::e2e {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// $1: the test's folder, $2: edge-gpu, $3 and further: the doctor's arguments.
constexpr const char* kScript = R"sh(
set -e
T=$1; B=$2; shift 2
mount --make-rprivate /
for folder in /dev /run /var/lib /sys/bus/pci/devices /sys/module; do mount -t tmpfs none $folder; done
[ ! -d /etc/kubernetes ] || mount -t tmpfs none /etc/kubernetes
[ ! -d /etc/cdi ] || mount -t tmpfs none /etc/cdi
mkdir -p /run/containerd /dev/char
mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/zero c 1 5; mknod -m 666 /dev/urandom c 1 9
for node in nvidia0:195:0 nvidia1:195:1 nvidiactl:195:255 nvidia-uvm:237:0 nvidia-uvm-tools:237:1; do
    name=${node%%:*}; number=${node#*:}
    mknod -m 666 /dev/$name c ${number%:*} ${number#*:}; ln -s ../$name /dev/char/$number
done
grep -v nvidia /proc/devices | sed 's/^Character devices:$/&\n195 nvidia\n237 nvidia-uvm/' > $T/devices
for bus in 1b 22; do
    mkdir -p /sys/bus/pci/devices/0000:$bus:00.0 $T/driver-table/nvidia/gpus/0000:$bus:00.0
    echo 0x10de > /sys/bus/pci/devices/0000:$bus:00.0/vendor; echo 0x1eb8 > /sys/bus/pci/devices/0000:$bus:00.0/device
    echo 0x030200 > /sys/bus/pci/devices/0000:$bus:00.0/class; ln -s ../nvidia /sys/bus/pci/devices/0000:$bus:00.0/driver
done
echo 'Device Minor: 0' > $T/driver-table/nvidia/gpus/0000:1b:00.0/information
echo 'Device Minor: 1' > $T/driver-table/nvidia/gpus/0000:22:00.0/information
echo 'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.161.08  Sat Jan 1' > $T/driver-table/nvidia/version
echo 'nvidia 1 1 - Live 0x0
nvidia_uvm 1 1 - Live 0x0' > $T/modules
mount --bind $T/driver-table /proc/driver; mount --bind $T/devices /proc/devices
mkdir /sys/module/nvidia /sys/module/nvidia_uvm
[ ! -e /proc/modules ] || mount --bind $T/modules /proc/modules
if [ -e $T/without-ctr ]; then
    mount --bind /dev/null $(command -v ctr)
else
    containerd --config $T/containerd.toml > $T/containerd.log 2>&1 &
    for i in $(seq 100); do [ -S /run/containerd/containerd.sock ] && break; sleep 0.1; done
fi
[ ! -e $T/without-nodes ] || rm -r /dev/nvidia0 /dev/char
root=/
if [ -e $T/in-a-pod ]; then
    # The simulated library looks beside itself, by the path it was opened with: that has to lead there in the root, too.
    root=$T/host; mkdir $root; top=$(echo $T | cut -d/ -f2); ln -s /$top $root/$top
    mount --rbind / $root; umount -l /sys/bus/pci/devices
fi
status=0
$B doctor --root $root --no-api --driver-root $T/driver "$@" || status=$?
[ -z "$(ls /var/lib/edge-gpu 2>/dev/null)" ] || { echo "left behind in /var/lib/edge-gpu: $(ls /var/lib/edge-gpu)"; exit 90; }
if [ ! -e $T/without-ctr ]; then
    [ -z "$(ctr namespaces ls -q)" ] || { echo "left behind in containerd: $(ctr namespaces ls -q)"; exit 91; }
fi
exit $status
)sh";

constexpr const char* kContainerd = R"(version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
)";

class Doctor : public ::testing::Test {
  protected:
    void SetUp() override {
        if (::geteuid() != 0) GTEST_SKIP() << "needs root";
        for (const char* program : {"containerd", "ctr", "runc", "unshare", "mount"}) {
            if (find_program(program).empty()) GTEST_SKIP() << "needs " << program;
        }
        const auto possible = run_command("/usr/bin/unshare", {"-m", "true"}, {}, Seconds(30));
        if (!possible || possible->status != 0) GTEST_SKIP() << "may not make namespaces here";
        const fs::path libraries = folder_.path() / "driver/usr/lib/x86_64-linux-gnu";
        fs::create_directories(libraries);
        fs::copy_file(EDGE_GPU_SIM_CUDA_LIBRARY, libraries / "libcuda.so.535.161.08");
        fs::copy_file(EDGE_GPU_SIM_LIBRARY, libraries / "libnvidia-ml.so.535.161.08");
        fs::create_symlink("libcuda.so.535.161.08", libraries / "libcuda.so.1");
        fs::create_symlink("libnvidia-ml.so.535.161.08", libraries / "libnvidia-ml.so.1");
        auto node = testing::SimGpus::make("t4", "node-1");
        ASSERT_TRUE(node.ok());
        node->set_driver_version("535.161.08");
        ASSERT_TRUE(node->write(libraries / "libnvidia-simulated-state.so.535.161.08").ok());
        std::ofstream(folder_.path() / "script") << kScript;
        std::ofstream(folder_.path() / "containerd.toml") << kContainerd;
    }

    CommandResult doctor(std::vector<std::string> arguments) {
        std::vector<std::string> all{
            "-m",
            "-p",
            "-f",
            "--mount-proc",
            "--kill-child",
            "sh",
            (folder_.path() / "script").string(),
            folder_.path().string(),
            edge_gpu().string()};
        all.insert(all.end(), arguments.begin(), arguments.end());
        // LeakSanitizer cannot look at its process inside a container.
        const auto result = run_command(
            "/usr/bin/unshare", all, {{"ASAN_OPTIONS", "detect_leaks=0"}}, Seconds(240)
        );
        EXPECT_TRUE(result.ok()) << result.error().message;
        return result ? *result : CommandResult{};
    }

    static std::string smoke(const CommandResult& result) {
        const std::size_t start = result.output.find('{');
        const auto report =
            json::parse(start == std::string::npos ? "" : result.output.substr(start));
        EXPECT_TRUE(report.ok()) << result.output;
        if (!report) return "";
        const json::value& last = json::get_array(*report, {"checks"})->back();
        EXPECT_EQ(json::get_string(last, {"id"}), "smoke");
        return json::to_text(last);
    }

    ScratchFolder folder_;
};

TEST_F(Doctor, smoke_test_shows_one_of_two_cards_in_a_container_of_containerd) {
    const CommandResult result = doctor({"--smoke", "-o", "json"});
    const std::string text = smoke(result);
    EXPECT_THAT(
        text,
        HasSubstr("\"id\":\"smoke\",\"severity\":\"ok\",\"lookedAt\":\"containerd at "
                  "/run/containerd/containerd.sock\"")
    );
    EXPECT_THAT(
        text,
        HasSubstr(
            "a container with /dev/nvidia0 sees Tesla T4, 15360 MiB, CUDA 12.2, and nothing else"
        )
    );
    EXPECT_TRUE(result.status == 0 || result.status == 1) << result.status << "\n" << result.output;
}

TEST_F(Doctor, smoke_test_works_with_runc_alone) {
    std::ofstream(folder_.path() / "without-ctr") << "";
    const CommandResult result = doctor({"--smoke", "-o", "json"});
    EXPECT_THAT(
        smoke(result),
        HasSubstr("\"id\":\"smoke\",\"severity\":\"ok\",\"lookedAt\":\"/usr/sbin/runc\"")
    ) << result.output;
}

TEST_F(Doctor, sees_and_uses_the_node_through_another_root_as_in_a_pod) {
    std::ofstream(folder_.path() / "in-a-pod") << "";
    const CommandResult result = doctor({"--smoke", "-o", "json"});
    EXPECT_THAT(smoke(result), HasSubstr("sees Tesla T4, 15360 MiB")) << result.output;
    EXPECT_EQ(result.status, 0) << result.output;
}

TEST_F(Doctor, makes_missing_device_nodes_when_told_to) {
    std::ofstream(folder_.path() / "without-nodes") << "";
    const CommandResult asked = doctor({"--fix"});
    EXPECT_EQ(asked.status, 2) << asked.output;
    EXPECT_THAT(asked.output, HasSubstr("not done: no terminal to ask on"));
    const CommandResult told = doctor({"--fix", "--yes", "--smoke"});
    EXPECT_EQ(told.status, 0) << told.output;
    EXPECT_THAT(told.output, HasSubstr("mknod /dev/nvidia0 c 195 0\n"));
    EXPECT_THAT(told.output, HasSubstr("a container with /dev/nvidia0 sees Tesla T4"));
}

TEST_F(Doctor, names_what_is_wrong_with_the_driver_and_does_not_try_then) {
    fs::remove(folder_.path() / "driver/usr/lib/x86_64-linux-gnu/libcuda.so.1");
    fs::remove(folder_.path() / "driver/usr/lib/x86_64-linux-gnu/libcuda.so.535.161.08");
    const CommandResult result = doctor({"--smoke"});
    EXPECT_EQ(result.status, 2);
    EXPECT_THAT(result.output, HasSubstr("no libcuda.so.1"));
    EXPECT_THAT(result.output, HasSubstr("not checked: see \"driver libraries\" first"));
}

}  // namespace
}  // namespace egpu::e2e
