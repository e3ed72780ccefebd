#include "isolation/cgroup_owner.h"

#include <gtest/gtest.h>

namespace egpu::isolation {
namespace {

const std::string kUid = "0a1b2c3d-1111-2222-3333-444455556666";
const std::string kUnder = "0a1b2c3d_1111_2222_3333_444455556666";
const std::string kId(64, 'a');
const std::string kInner(64, 'b');

void expect(const std::string& path, const std::string& uid = kUid, const std::string& id = kId) {
    for (const std::string& text :
         {"0::" + path + "\n",
          "12:cpu,cpuacct:/\n5:memory:" + path + "\n1:name=systemd:" + path + "\n"}) {
        const auto owner = cgroup_owner(text);
        ASSERT_TRUE(owner.has_value()) << text;
        EXPECT_EQ(owner->pod_uid, uid) << text;
        EXPECT_EQ(owner->container_id, id) << text;
    }
}

TEST(CgroupOwner, AllDriversAndRuntimes) {
    expect("/kubepods/burstable/pod" + kUid + "/" + kId);
    expect("/kubepods/pod" + kUid + "/" + kId);
    expect("/custom/root/kubepods/besteffort/pod" + kUid + "/" + kId);
    expect("/kubepods/besteffort/pod" + kUid + "/crio-" + kId);
    const std::string slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod";
    expect(slice + kUnder + ".slice/cri-containerd-" + kId + ".scope");
    expect(slice + kUnder + ".slice/crio-" + kId + ".scope");
    expect(slice + kUnder + ".slice/docker-" + kId + ".scope");
    expect(slice + kUnder + ".slice/libpod-" + kId + ".scope");
    expect("/kubepods.slice/kubepods-pod" + kUnder + ".slice/cri-containerd-" + kId + ".scope");
    expect(
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" + kUnder +
        ".slice/cri-containerd-" + kId + ".scope"
    );
    expect(
        "/system.slice/containerd.service/kubepods-burstable-pod" + kUnder +
        ".slice:cri-containerd:" + kId
    );
}

TEST(CgroupOwner, StaticPodsHaveAHash) {
    const std::string hash(32, '7');
    expect("/kubepods/burstable/pod" + hash + "/" + kId, hash);
    expect(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + hash +
            ".slice/cri-containerd-" + kId + ".scope",
        hash
    );
}

TEST(CgroupOwner, SeenFromAnotherCgroupNamespace) {
    expect("/../../kubepods-besteffort-pod" + kUnder + ".slice/cri-containerd-" + kId + ".scope");
    expect("/../pod" + kUid + "/" + kId);
}

TEST(CgroupOwner, TheOutermostCounts) {
    expect("/kubepods/pod" + kUid + "/" + kId + "/docker/" + kInner);
    expect(
        "/kubepods/pod" + kUid + "/" + kId + "/kubepods/pod99999999-1111-2222-3333-444455556666/" +
        kInner
    );
    expect("/kubepods/pod" + kUid + "/" + kId + "/container");
}

TEST(CgroupOwner, ThePodItselfAndTheMonitorAreInNoContainer) {
    expect("/kubepods/pod" + kUid, kUid, "");
    expect("/kubepods/pod" + kUid + "/crio-conmon-" + kId + ".scope", kUid, "");
}

TEST(CgroupOwner, OthersAreInNoPod) {
    for (const std::string& text : std::vector<std::string>{
             "",
             "\n\n",
             "0::/",
             "0::/system.slice/sshd.service",
             "0::/docker/" + kId,
             "0::/user.slice/tripod" + kUid,
             "0::/kubepods/pod" + kUid.substr(1) + "/" + kId,
             "0::/kubepods/podzz" + kUid.substr(2) + "/" + kId,
             "0::/kubepods-pod/" + kId,
             kId}) {
        EXPECT_FALSE(cgroup_owner(text).has_value()) << text;
    }
}

}  // namespace
}  // namespace egpu::isolation
